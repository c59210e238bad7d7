"""What -g allows, and only a module can do: in the machines of the lab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datadriven import Case
from kmod.programs import Program
from lab.modules import Module, Modules
from stap import PYTHON, Done

pytestmark = pytest.mark.lab

EMBEDDED = Module(
    "-g",
    "-e",
    """
    %{
    #include <linux/utsname.h>
    %}
    global hits, by
    function release:string () %{ strlcpy(STAP_RETVALUE, utsname()->release, MAXSTRINGLEN); %}
    function name:string (task:long) %{ /* pure */
      struct task_struct *task = (struct task_struct *)STAP_ARG_task;
      strlcpy(STAP_RETVALUE, task->comm, TASK_COMM_LEN);
    %}
    function parent:long (task:long) %{ /* pure */
      struct task_struct *up = kread(&((struct task_struct *)STAP_ARG_task)->real_parent);
      STAP_RETVALUE = kread(&up->tgid);
    %}
    function count () %{ /* pragma:read:hits */ /* pragma:write:hits */ /* pragma:write:by */
      STAP_GLOBAL_SET_hits(STAP_GLOBAL_GET_hits() + 1);
      STAP_GLOBAL_SET_by(STAP_GLOBAL_GET_hits(), current->comm);
    %}
    function fails:long (x:long) %{ STAP_ERROR("told %d", (int)STAP_ARG_x); %}
    probe begin {
      hits = 0
      by[0] = ""
      println(release())
      println(name(task_current()) == execname(), " ", parent(task_current()) == ppid())
      println(%{ sizeof(struct new_utsname) %}, " ", @const("PAGE_SHIFT"))
      println(%{ /* string */ current->comm %} == execname())
      try { println(parent(8)) } catch (m) { println(substr(m, 0, 20)) }
      try { fails(3) } catch (m) { println(m) }
    }
    probe timer.ms(1) { count() if (hits == 50) exit() }
    probe end { println(hits, " ", by[50] != "") fails(4) }
    """,
)
WRITES = Module(
    "-g",
    "-e",
    """
    %{ static u64 spot = 1; static char room[8]; %}
    function spot:long () %{ STAP_RETVALUE = (long)&spot; %}
    function room:long () %{ STAP_RETVALUE = (long)room; %}
    function constant:long () %{ STAP_RETVALUE = (long)_printk; %}
    probe oneshot {
      set_kernel_long(spot(), 0x1122334455667788)
      printf("%x ", @kderef(8, spot()))
      set_kernel_int(spot(), 0x99) printf("%x ", @kderef(8, spot()))
      set_kernel_short(spot(), 0xaa) printf("%x ", @kderef(8, spot()))
      set_kernel_char(spot() + 7, 0xbb) printf("%x ", @kderef(8, spot()))
      @kderef(8, spot()) = -1 printf("%x ", @kderef(8, spot()))
      set_kernel_pointer(spot(), 5) printf("%x\\n", @kderef(8, spot()))
      set_kernel_string(room(), "seven..") println(kernel_string(room()))
      set_kernel_string_n(room(), 2, "xyz") println(kernel_string(room()))
      try { set_kernel_char(constant(), @kderef(1, constant())) } catch (m) {
        println(m == sprintf("kernel write fault at %016x", constant()))
      }
      try { set_kernel_long(0x8000000000000001, 65) } catch (m) { println(m) }
      try { set_kernel_int(8, 65) } catch (m) { println(m) }
      try { @kderef(4, 16) = 1 } catch (m) { println(m) }
      printk(6, "a line of a script")
      ftrace("a trace of a script")
    }
    """,
)
MEMBER = Module(
    "-g",
    "-e",
    """
    probe kernel.function("vfs_write") {
      if (pid() == target()) @cast(task_current(), "task_struct")->comm[0] = 88
    }
    """,
)
ARGUMENT = Module(
    "-g", "-e", 'probe kernel.function("vfs_write") { if (pid() == target()) $count = 3 }'
)
RESULT = Module(
    "-g", "-e", 'probe kernel.function("vfs_write").return { if (pid() == target()) $return = 7 }'
)
SYSCALL = Module(
    "-g",
    "-e",
    """
    global before
    probe syscall.exit_group { if (pid() == target()) { before = $error_code; $error_code = 21 } }
    probe end { println("was ", before) }
    """,
)
SYSCALL_RESULT = Module(
    "-g", "-e", "probe syscall.getppid.return { if (pid() == target()) $return = 23 }"
)

PROGRAM = Program(
    Case(
        Path(__file__),
        "variables of a program",
        0,
        {
            "options": "-g",
            "input": """
                probe process("@P@").function("told") {
                  $x = 42; $far = -3; $b->n = 7; $b->c[1] = 88
                }
                probe process("@P@").function("given").return { $return = $return + 100 }
                probe process("@P@").function("shown") { printf("%s\\n", user_string($text)) }
            """,
            "c": """
                #include <stdio.h>
                struct box { long before; short n; char c[6]; };
                static struct box box = { 1, 2, "abcde" };
                __attribute__((noipa)) void shown(const char *text)
                {
                    fprintf(stderr, "%s\\n", text);
                }
                __attribute__((noipa)) void told(int x, long far, struct box *b)
                {
                    char text[99];

                    snprintf(text, 99, "%d %ld %ld %d %s", x, far, b->before, b->n, b->c);
                    shown(text);
                }
                __attribute__((noipa)) int given(int x) { return x + 1; }
                int main(void)
                {
                    char text[99];

                    told(1, 2, &box);
                    snprintf(text, 99, "%d", given(5));
                    shown(text);
                    return box.n != 7;
                }
            """,
        },
    )
)
# Built and loaded, not called: the machine is needed.
DANGER = Module(
    "-g",
    "-e",
    """
    probe timer.s(100000) { dump_stack() panic("the end") }
    probe begin { println("ready") exit() }
    """,
)

_WRITE = 'n = os.write(os.open("/dev/null", 1), b"0123456789")'


def python(code: str) -> str:
    """A command line."""
    return f"{PYTHON} -ISc 'import os; {code}'"


def ended_with(done: Done, status: int) -> None:
    """Whether the command of -c ended like that, and nothing else is to be told."""
    assert done.err == f"WARNING: Child process exited with status {status}\n"


def test_embedded_c(modules: Modules) -> None:
    done = modules.run(EMBEDDED)
    lines = [os.uname().release, "1 1", "390 12", "1", "kernel read fault at", "told 3", "50 1"]
    assert done.out.splitlines() == lines, done.err
    assert done.err.startswith("ERROR: told 4 near identifier 'fails' at <input>:")
    assert done.status == 1


def test_memory(modules: Modules) -> None:
    done = modules.run(WRITES)
    assert (done.err, done.status) == ("", 0)
    assert done.out.splitlines() == [
        "1122334455667788 1122334400000099 11223344000000aa bb223344000000aa ffffffffffffffff 5",
        "seven..",
        "xyven..",
        "1",
        "kernel write fault at 8000000000000001",
        "kernel write fault at 0000000000000008",
        "kernel write fault at 0000000000000010",
    ]
    (line,) = [line for line in kernel_log() if b"a line of a script" in line]
    assert line.startswith(b"6,")
    assert "a trace of a script" in Path("/sys/kernel/tracing/trace").read_text()


def kernel_log() -> list[bytes]:
    """The records of the kernel's log."""
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    lines = []
    try:
        while True:
            lines.append(os.read(log, 8192))
    except BlockingIOError:
        return lines
    finally:
        os.close(log)


def test_member_of_a_structure(modules: Modules) -> None:
    code = f'{_WRITE}; os._exit(open("/proc/self/comm").read()[0] == "X")'
    ended_with(modules.run(MEMBER, "-c", python(code)), 1)


def test_argument_of_a_function(modules: Modules) -> None:
    ended_with(modules.run(ARGUMENT, "-c", python(f"{_WRITE}; os._exit(n)")), 3)


def test_result_of_a_function(modules: Modules) -> None:
    ended_with(modules.run(RESULT, "-c", python(f"{_WRITE}; os._exit(n)")), 7)


def test_argument_of_a_system_call(modules: Modules) -> None:
    done = modules.run(SYSCALL, "-c", python("os._exit(5)"))
    assert done.out == "was 5\n"
    ended_with(done, 21)


def test_result_of_a_system_call(modules: Modules) -> None:
    ended_with(modules.run(SYSCALL_RESULT, "-c", python("os._exit(os.getppid())")), 23)


def test_functions_that_end_the_machine(modules: Modules) -> None:
    done = modules.run(DANGER)
    assert (done.out, done.err, done.status) == ("ready\n", "", 0)


def test_variables_of_a_program(modules: Modules) -> None:
    done = PROGRAM.run(modules)
    assert done.out == done.err == "42 -3 1 7 aXcde\n106\n"
    assert done.status == 0
