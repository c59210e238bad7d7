"""Programs that come in numbers, that change, or that are of an unusual kind: exact counts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import inprocess
from stap import started
from userland.programs import build

STORM = """
#include <pystap/sdt.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline, noclone)) int f(int n) { STAP_PROBE1(app, here, n); return n + 1; }
int main(int argc, char **argv)
{
    int many = atoi(argv[1]), at_once = atoi(argv[2]), sum = 0;
    for (int i = 0; i < many; i++) {
        if (i >= at_once) wait(NULL);
        if (fork() == 0) _exit(f(i) == 0);
    }
    while (wait(NULL) > 0) sum++;
    return sum > at_once;
}
"""
AGAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((noinline, noclone)) int f(int n) { return n - 1; }
int main(int argc, char **argv)
{
    char next[16];
    int left = atoi(argv[1]);
    if (!left) return 0;
    snprintf(next, sizeof next, "%d", f(left));
    return execl(argv[0], argv[0], next, NULL);
}
"""
THREADS = """
#include <pthread.h>
__attribute__((noinline, noclone)) long f(long n) { __asm__ volatile(""); return n; }
static void *run(void *n) { for (int i = 0; i < 25; i++) f((long)n); return n; }
int main(void)
{
    pthread_t threads[40];
    for (long i = 0; i < 40; i++) pthread_create(&threads[i], NULL, run, (void *)i);
    for (long i = 0; i < 40; i++) pthread_join(threads[i], NULL);
    return 0;
}
"""
WAITING = """
#include <stdio.h>
__attribute__((noinline, noclone)) int f(int n) { __asm__ volatile(""); return n; }
int main(void)
{
    int c, sum = 0;
    puts("up");
    fflush(stdout);
    while ((c = getchar()) != EOF) sum += f(c);
    return sum < 0;
}
"""


def run(script: str, *command: object) -> str:
    done = inprocess.Run("-c", " ".join(map(str, command)), "-e", script).end(120)
    assert (done.err, done.status) == ("", 0)
    return done.out


def test_many_forks(tmp_path: Path) -> None:
    """500 children, each of which calls f once; four at a time."""
    program = build(STORM, tmp_path, "-O1 -g")
    script = f"""
      global calls, sums, marks, begins, ends, targets, returns
      probe process("{program}").function("f") {{ calls++; sums += $n; begins[pid()]++ }}
      probe process("{program}").function("f").return {{ returns += $return == @entry($n) + 1 }}
      probe process("{program}").mark("here") {{ marks[$arg1] = pid() }}
      probe process.function("f") {{ targets++ }}
      probe process("{program}").end {{ ends++ }}
      probe end {{
        foreach (n in marks) different += begins[marks[n]] == 1
        printf("%d %d %d %d %d %d\\n", calls, sums, different, targets, ends, returns)
      }}
    """
    found = run(script, program, 500, 4)
    assert found == f"500 {500 * 499 // 2} 500 500 501 500\n"


def test_many_executions(tmp_path: Path) -> None:
    program = build(AGAIN, tmp_path, "-O1 -g")
    script = f"""
      global calls, starts, execs, last
      probe process("{program}").function("main") {{ starts++ }}
      probe process("{program}").function("f") {{ calls++; last = $n }}
      probe process.syscall {{ execs += $syscall == 59 }}
      probe end {{ printf("%d %d %d %d\\n", starts, calls, execs, last) }}
    """
    assert run(script, program, 200) == "201 200 200 1\n"


def test_many_threads(tmp_path: Path) -> None:
    program = build(THREADS, tmp_path, "-O1 -g -pthread")
    script = f"""
      global calls, by, ends
      probe process("{program}").function("f") {{ calls++; by[tid(), $n]++ }}
      probe process("{program}").thread.end {{ ends++ }}
      probe end {{
        foreach ([t, n] in by) exact += by[t, n] == 25
        printf("%d %d %d\\n", calls, exact, ends)
      }}
    """
    assert run(script, program) == "1000 40 40\n"


def test_counters_of_many_listeners(tmp_path: Path) -> None:
    """Semaphores are above zero while anybody listens, in each process, and zero afterwards.

    The kernel counts the places that are listened at, not the listeners.
    """
    source = """
      #include <stdio.h>
      #define SDT_USE_SEMAPHORES
      #include <pystap/sdt.h>
      STAP_SEMAPHORE(app, seen);
      int main(void)
      {
          puts("up"); fflush(stdout);
          while (getchar() != EOF) { printf("%d\\n", app_seen_semaphore); fflush(stdout); }
          STAP_PROBE(app, seen);
          return 0;
      }
    """
    program = build(source, tmp_path, "-O1")
    script = f"""
      probe process("{program}").mark("seen") {{ println("seen") }}
      probe begin {{ println("ready") }}
    """
    pipe = subprocess.PIPE
    before = [subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True) for _ in range(3)]

    def told(process: subprocess.Popen[str]) -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("x")
        process.stdin.flush()
        return int(process.stdout.readline())

    everyone = list(before)
    try:
        for process in before:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        assert [told(p) for p in before] == [0, 0, 0]
        with started("-e", script, out=tmp_path / "one") as one:
            assert [told(p) for p in before] == [1, 1, 1]
            with started("-e", script, out=tmp_path / "two") as two:
                later = subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True)
                everyone.append(later)
                assert later.stdout is not None
                assert later.stdout.readline() == "up\n"
                assert [told(p) for p in everyone] == [1, 1, 1, 1]
                two.terminate()
                two.wait(30)
            assert [told(p) for p in everyone] == [1, 1, 1, 1]
            one.terminate()
            one.wait(30)
        assert [told(p) for p in everyone] == [0, 0, 0, 0]
    finally:
        for process in everyone:
            process.kill()
            process.communicate()


def test_library_opened_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "lib.c").write_text("int f(int n) { return n + 1; }")
    library = tmp_path / "libf.so"
    command = ["gcc", "-O1", "-g", "-shared", "-fPIC", "lib.c", "-o", "libf.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    source = f"""
      #include <dlfcn.h>
      #include <stdlib.h>
      int main(void)
      {{
          for (int i = 0; i < 5; i++) {{
              void *library = dlopen("{library}", RTLD_NOW);
              int (*f)(int) = (int (*)(int))dlsym(library, "f");
              if (f(i) != i + 1) abort();
              dlclose(library);
          }}
          return 0;
      }}
    """
    program = build(source, tmp_path / "program", "-O1")
    script = f"""
      probe process("{library}").function("f") {{ println($n) }}
      probe process("{program}").library("{library}").function("f").return {{ println($return) }}
    """
    assert run(script, program) == "".join(f"{n}\n{n + 1}\n" for n in range(5))


def open_waiting(program: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([program], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_file_that_was_replaced(tmp_path: Path) -> None:
    """A path means the file that has it now; what a process runs is found by its number."""
    program = build(WAITING, tmp_path, "-O1 -g")
    other = tmp_path / "other"
    shutil.copy(program, other)
    old = open_waiting(program)
    try:
        other.rename(program)
        script = f"""
          probe process({old.pid}).function("f") {{ printf("by pid %c\\n", $n) }}
          probe process("{program}").function("f") {{
            printf("by path %d %c\\n", pid() == {old.pid}, $n)
          }}
          probe process({old.pid}).end {{ exit() }}
          probe begin {{ println("ready") }}
        """
        with started("-e", script, out=tmp_path / "out") as stap:
            new = open_waiting(program)
            new.communicate("n", timeout=30)
            old.communicate("o", timeout=30)
            assert stap.wait(30) == 0
        lines = (tmp_path / "out").read_text().splitlines()
        assert lines == ["ready", "by path 0 n", "by pid o"]
    finally:
        old.kill()
        old.communicate()


def test_file_that_was_deleted(tmp_path: Path) -> None:
    program = build(WAITING, tmp_path, "-O1 -g")
    process = open_waiting(program)
    try:
        program.unlink()
        script = f"""
          probe process({process.pid}).function("f") {{ printf("%c\\n", int_arg(1)) }}
          probe process({process.pid}).end {{ exit() }}
          probe begin {{ println("ready") }}
        """
        with started("-e", script, out=tmp_path / "out") as stap:
            process.communicate("abc", timeout=30)
            assert stap.wait(30) == 0
        assert (tmp_path / "out").read_text() == "ready\na\nb\nc\n"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("flags", ["-O1 -g -static", "-O1 -g -static-pie -fPIE"])
def test_static_programs(tmp_path: Path, flags: str) -> None:
    program = build(STORM, tmp_path, flags)
    script = f"""
      global marks
      probe process("{program}").function("f") {{ printf("f %d\\n", $n) }}
      probe process("{program}").mark("here") {{ marks++ }}
      probe process("{program}").syscall {{
        if ($syscall == 231 && pid() == target()) println("end")
      }}
      probe end {{ println(marks) }}
    """
    assert run(script, program, 2, 1) == "f 0\nf 1\nend\n2\n"


SECRETIVE = """
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline, noclone)) int f(const char *word) { __asm__ volatile(""); return *word; }
int main(int argc, char **argv)
{
    char word[] = "undumpable";
    prctl(PR_SET_DUMPABLE, 0);
    f(word);
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        word[0] = 'U';
        f(word);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return 0;
}
"""


def test_processes_that_cannot_be_traced_by_others(tmp_path: Path) -> None:
    program = build(SECRETIVE, tmp_path, "-O1 -g")
    script = f'probe process("{program}").function("f") {{ println(user_string($word)) }}'
    assert run(script, program) == "undumpable\nUndumpable\n"


def test_setuid_program(tmp_path: Path) -> None:
    source = """
      #include <unistd.h>
      __attribute__((noinline, noclone)) int f(int user) { __asm__ volatile(""); return user; }
      int main(void) { return f(geteuid()) != 65534; }
    """
    program = build(source, tmp_path, "-O1 -g")
    os.chown(program, 65534, 65534)
    program.chmod(0o4755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o111)
    script = f"""
      probe process("{program}").function("f") {{ printf("%d %d\\n", $user, euid()) }}
      probe process.syscall.return {{ if ($syscall == 107) println($return) }}
    """
    assert run(script, program) == "65534\n65534 65534\n"
