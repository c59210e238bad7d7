"""Target-side operators on the kernel's own data, compared with what a process knows of itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import stap

# What the kernel says of the process is what Python and /proc tell it.
ACTOR = """
import ctypes, json, os, resource, sys, threading
ctypes.CDLL(None).prctl(15, b"it's \\\\me", 0, 0, 0)
os.nice(3)
resource.setrlimit(resource.RLIMIT_NOFILE, (77, 88))
os.chdir(os.path.dirname(sys.argv[1]))
hold = threading.Event()
threading.Thread(target=hold.wait, daemon=True).start()
stat = open("/proc/self/stat").read().rpartition(")")[2].split()
facts = {
    "pid": os.getpid(), "tgid": os.getpid(), "parent": int(stat[1]), "uid": os.getuid(),
    "soft": 77, "hard": 88, "nice": os.nice(0), "threads": 2,
    "ino": os.fstat(0).st_ino, "size": os.stat(sys.argv[1]).st_size,
    "cwd": os.path.basename(os.getcwd()), "comm": "it's \\\\me", "letter": ord("t"),
    "code": int(stat[23]), "arguments": int(stat[45]), "stack": int(stat[25]),
    "session": os.getsid(0), "group": os.getpgid(0),
}
json.dump(facts, open(sys.argv[1] + ".facts", "w"))
os.dup2(os.open(sys.argv[1], os.O_RDONLY), 76)
os.getppid()
"""

# Each value in one line: name, then what kernel memory holds.
SCRIPT = """
function soft(t) { return t->signal->rlim[7]->rlim_cur }
probe syscall.getppid {
  if (pid() != target()) next
  t = @cast(task_current(), "task_struct", "kernel<linux/sched.h>:nosuch")
  printf("pid %d\\n", t->pid)
  printf("tgid %d\\n", @task(task_current())->tgid)
  printf("parent %d\\n", t->real_parent->tgid)
  printf("uid %d\\n", t->cred->uid->val)
  printf("soft %d\\n", soft(t))
  printf("hard %d\\n", t->signal->rlim[5 + 2]->rlim_max)
  printf("nice %d\\n", t->static_prio - 120)
  printf("threads %d\\n", t->signal->nr_threads)
  printf("ino %d\\n", t->files->fdt->fd[0]->f_inode->i_ino)
  printf("size %d\\n", @cast(t->files->fdt->fd[76], "file")->f_inode->i_size)
  printf("cwd %s\\n", kernel_string(t->fs->pwd->dentry->d_name->name))
  printf("comm %s\\n", kernel_string(t->comm))
  printf("letter %d\\n", t->comm[1])
  printf("code %d\\n", t->mm->start_code)
  printf("arguments %d\\n", @mm(t->mm)->arg_start)
  printf("stack %d\\n", t->mm->start_stack)
  printf("session %d\\n", t->signal->pids[@enum("PIDTYPE_SID")]->numbers[0]->nr)
  printf("group %d\\n", t->signal->pids[@enum("PIDTYPE_PGID")]->numbers[0]->nr)
}
"""


@pytest.fixture
def actor(tmp_path: Path) -> list[str]:
    """The words that run the actor with a file of its own in a directory of its own."""
    (tmp_path / "actor.py").write_text(ACTOR)
    place = tmp_path / "here it is"
    place.mkdir()
    (place / "file").write_bytes(b"x" * 12345)
    return ["-c", f"{sys.executable} {tmp_path}/actor.py '{place}/file'"]


def facts_of(actor: list[str]) -> dict[str, str]:
    text = Path(actor[1].split("'")[1] + ".facts").read_text()
    return {name: str(value) for name, value in json.loads(text).items()}


def values(done: stap.Done) -> dict[str, str]:
    assert (done.err, done.status) == ("", 0)
    return dict(line.split(" ", 1) for line in done.out.splitlines())


def test_members_of_every_kind(actor: list[str]) -> None:
    found = values(stap.stap("-e", SCRIPT, *actor))
    assert found == facts_of(actor)


def test_addresses(actor: list[str]) -> None:
    script = """
    probe syscall.getppid {
      if (pid() != target()) next
      t = @task(task_current())
      printf("pid %d\\n", @kderef(4, &t->pid))
      printf("tgid %d\\n", @kderef(8, &t->pid) >> 32)
      p = &t->real_parent->tgid
      printf("parent %d\\n", @kderef(2, p) | @kderef(2, p + 2) << 16)
      printf("letter %d\\n", @kderef(1, &t->comm[1]))
      printf("size %d\\n", @cast(&t->files->fdt->fd[76]->f_inode->i_size, "loff_t*")[0])
      printf("offset %d\\n", &t->pid - task_current() == @offsetof("task_struct", pid))
      printf("container %d\\n", @container_of(&t->pid, "task_struct", pid) == task_current())
      printf("sizes %d\\n", @cast_sizeof("int") * 10 + @cast_sizeof("struct list_head") / 2)
      first = &t->signal->rlim[7]
      printf("next %d\\n", &t->signal->rlim[8] - first == @cast_sizeof("struct rlimit"))
      printf("none %d\\n", @type_defined("struct no") + @type_member_defined("task_struct", no))
      printf("all %d\\n", @type_defined("task_struct") + @type_member_defined("file", f_pos))
    }
    """
    found = values(stap.stap("-g", "-e", script, *actor))
    facts = facts_of(actor)
    expected = {name: facts[name] for name in ("pid", "tgid", "parent", "letter", "size")}
    expected |= dict.fromkeys(("offset", "container", "next"), "1")
    expected |= {"sizes": "48", "none": "0", "all": "2"}
    assert found == expected


def test_pretty_printed(actor: list[str]) -> None:
    script = """
    probe syscall.getppid {
      if (pid() != target()) next
      t = @task(task_current())
      printf("pid %s\\n", t->pid$)
      printf("comm %s\\n", t->comm$)
      printf("limit %s\\n", t->signal->rlim[7]$)
      printf("limits %s\\n", substr(t->signal->rlim$, 0, 30))
      printf("deep %s\\n", substr(t->signal->rlim$$, 0, 70))
      printf("name %s\\n", t->fs->pwd->dentry->d_name->name$)
      pwd = sprintf("{.mnt=%p, .dentry=%p}", t->fs->pwd->mnt, t->fs->pwd->dentry)
      printf("path %s\\n", t->fs->pwd$ == pwd ? "same" : t->fs->pwd$)
      printf("uid %s\\n", t->cred->uid$)
      printf("nested %s\\n", t->cred$ =~ "\\\\.uid=\\\\{\\\\.\\\\.\\\\.\\\\}" ? "short" : t->cred$)
      printf("full %s\\n", t->cred$$ =~ "\\\\.uid=\\\\{\\\\.val=" ? "long" : t->cred$$)
    }
    """
    found = values(stap.stap("-e", script, *actor))
    facts = facts_of(actor)
    assert found == {
        "pid": facts["pid"],
        "comm": '"it\'s \\\\me"',
        "limit": "{.rlim_cur=77, .rlim_max=88}",
        "limits": "[{...}, {...}, {...}, {...}, {"[:30],
        "deep": found["deep"],
        "name": '"here it is"',
        "path": "same",
        "uid": f"{{.val={facts['uid']}}}",
        "nested": "short",
        "full": "long",
    }
    assert found["deep"].startswith("[{.rlim_cur=18446744073709551615, .rlim_max=")


def test_arguments_of_a_tracepoint(actor: list[str]) -> None:
    script = """
    probe kernel.trace("sched_process_exec") {
      if (pid() != target()) next
      printf("list %d\\n", $$parms == sprintf("p=%p old_pid=0x%x bprm=%p", $p, $old_pid, $bprm))
      printf("same %d\\n", $$vars == $$parms)
      printf("task %d\\n", $p == task_current())
      printf("path %s\\n", $bprm->filename$)
      printf("deep %d\\n", isinstr($$parms$, ".thread_info={...}"))
      printf("deeper %d\\n", isinstr($$parms$$, ".thread_info={.flags="))
      printf("enum %s\\n", @enumname($p->pid > 0, "pid_type"))
      printf("name %s %s\\n", $$system, $$name)
    }
    """
    found = values(stap.stap("-e", script, "-c", "/bin/true"))
    ones = dict.fromkeys(("list", "same", "task", "deep", "deeper"), "1")
    assert found == {
        **ones,
        "path": '"/bin/true"',
        "enum": "PIDTYPE_TGID",
        "name": "sched sched_process_exec",
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("$prev->pid = 0", "only the kernel runtime has writes to the kernel's memory"),
        ("println(@uregister(0))", "cannot access CPU registers in this context"),
        ("println(&x)", "cannot take the address of a script value"),
        ("println(&$prev->frozen)", "cannot take the address of a bit-field"),
        ("println($prev->se)", "'struct sched_entity' is being accessed instead of a member"),
        ('println(@const("EINVAL"))', "only the kernel runtime has embedded C: operator '@const'"),
        ("println($prev->comm->x)", "has no members"),
        ("println(*$prev)", "expected literal string or number"),
    ],
)
def test_what_cannot_be_done(body: str, message: str) -> None:
    script = f'probe kernel.trace("sched_switch") {{ {body} }}'
    done = stap.stap("--runtime=bpf", "-g", "-e", script)
    assert done.status == 1
    assert message in done.err
    assert "Traceback" not in done.err
