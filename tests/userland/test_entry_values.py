"""Values of a call's entry at its return: of that very call, whatever happens in between.

With one long the kernel keeps it, where it has session links; several values are in arrays.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import inprocess
from pystap.kernel.features import Features
from userland.programs import build

THREADS, ROUNDS, DEPTH = 6, 40, 15
SOURCE = """
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#define KEEP __attribute__((noinline, noclone))
#define USED(x) __asm__ volatile ("" : : "r" (x) : "memory")

KEEP long deeper(long n) {
    long inner = n > 0 ? deeper(n - 1) : 0;
    USED(inner);
    return n * 3;
}
static void *many(void *unused) {
    for (int i = 0; i < ROUNDS; i++)
        deeper(DEPTH);
    return 0;
}
static jmp_buf back;
KEEP long leaving(long n) {
    if (n == 0)
        longjmp(back, 1);
    long inner = leaving(n - 1);
    USED(inner);
    return inner + 1;
}
KEEP long forking(long n) {
    pid_t child = fork();
    if (child)
        waitpid(child, 0, 0);
    USED(child);
    return child ? n * 3 : -n;
}
KEEP long dividing(long n) { USED(n); return n * 3; }
int main(int argc, char **argv) {
    if (!strcmp(argv[1], "threads")) {
        pthread_t all[THREADS];
        for (int i = 0; i < THREADS; i++)
            pthread_create(all + i, 0, many, 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(all[i], 0);
    } else if (!strcmp(argv[1], "one"))
        many(0);
    else if (!strcmp(argv[1], "jumps")) {
        for (int i = 0; i < 5; i++)
            if (!setjmp(back))
                leaving(i);
        deeper(4);
    } else if (!strcmp(argv[1], "forks")) {
        for (long n = 1; n < 30; n++)
            if (forking(n) < 0)
                _exit(0);
    } else
        for (long n = -2; n <= 2; n++)
            dividing(n);
    return 0;
}
"""
SECOND = {"in_call": "", "in_arrays": " if (@entry(tid()) == 0) println(0)"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = f"-DTHREADS={THREADS} -DROUNDS={ROUNDS} -DDEPTH={DEPTH}"
    return build(SOURCE, tmp_path_factory.mktemp("entry"), f"-g -O2 -pthread {sizes}")


def values(program: Path, mode: str, function: str, expression: str, also: str) -> Counter[str]:
    """How often each line was printed at returns: the value of the entry, the result."""
    script = (
        f'probe process("{program}").function("{function}").return {{'
        f' printf("%d %d\\n", @entry({expression}), $return){also} }}'
    )
    run = inprocess.Run("-c", f"{program} {mode}", "-DMAXSKIPPED=1000000", "-e", script)
    done = run.end(120)
    assert not done.err or mode == "threads", done.err
    found = Counter(done.out.splitlines())
    skipped = re.search(r"skipped probes: (\d+)", done.err)
    found["skipped"] = int(skipped[1]) if skipped else 0
    return +found


@pytest.mark.parametrize("also", list(SECOND))
def test_calls_inside_one_another(program: Path, also: str) -> None:
    found = values(program, "one", "deeper", "$n", SECOND[also])
    assert found == {f"{n} {3 * n}": ROUNDS for n in range(DEPTH + 1)}


def test_calls_of_many_threads(program: Path) -> None:
    """Hits may be skipped, and are counted then; the values of others are right all the same."""
    found = values(program, "threads", "deeper", "$n", "")
    skipped = found.pop("skipped", 0)
    if Features().has("uprobe_session"):
        assert set(found) == {f"{n} {3 * n}" for n in range(DEPTH + 1)}
    total = THREADS * ROUNDS * (DEPTH + 1)
    assert total - skipped <= found.total() <= total


@pytest.mark.parametrize("also", list(SECOND))
def test_calls_that_never_return(program: Path, also: str) -> None:
    assert not values(program, "jumps", "leaving", "$n", SECOND[also])
    assert values(program, "jumps", "deeper", "$n", SECOND[also]) == {
        f"{n} {3 * n}": 1 for n in range(5)
    }


def test_forks_inside_of_calls(program: Path) -> None:
    """A child returns, too; arrays know nothing of it, but the kernel does."""
    found = values(program, "forks", "forking", "$n", "")
    parents = {f"{n} {3 * n}": 1 for n in range(1, 30)}
    children = {f"{n} {-n}": 1 for n in range(1, 30)}
    assert found == ({**parents, **children} if Features().has("uprobe_session") else parents)
    assert values(program, "forks", "forking", "$n", SECOND["in_arrays"]) == parents


@pytest.mark.parametrize("also", list(SECOND))
def test_errors_at_the_entry(program: Path, also: str) -> None:
    """The value is 0 then."""
    script = (
        f'probe process("{program}").function("dividing").return {{'
        f' printf("%d %d\\n", @entry(12 / $n), $return){SECOND[also]} }}'
    )
    options = ["-c", f"{program} errors", "--suppress-handler-errors", "-e", script]
    done = inprocess.Run(*options).end(60)
    assert done.out.splitlines()[:2] == ["-6 -6", "-12 -3"]
    assert done.out.splitlines()[-2:] == ["12 3", "6 6"]
    assert "0 0" in done.out.splitlines()
    assert done.err == "WARNING: Number of errors: 1, skipped probes: 0\n"


def test_conditions(program: Path) -> None:
    """A call that began while the probe was off is no hit."""
    script = (
        f'global on probe process("{program}").function("deeper") {{ on = $n < 3 }}'
        f' probe process("{program}").function("deeper").return if (on) {{'
        ' printf("%d %d\\n", @entry($n), $return) }'
    )
    done = inprocess.Run("-c", f"{program} jumps", "-e", script).end(60)
    assert not done.err
    assert set(done.out.splitlines()) <= {"2 6", "1 3", "0 0"}
    assert "0 0" in done.out.splitlines()


def test_what_is_said_of_it(program: Path) -> None:
    script = f'probe process("{program}").function("deeper").return {{ println(@entry($n)) }}'
    done = inprocess.Run("-v", "-c", f"{program} jumps", "-e", script).end(60)
    session = Features().has("uprobe_session")
    assert ("uprobe session, a link for the entries and returns" in done.err) == session
    assert done.out.split() == ["0", "1", "2", "3", "4"]
