"""Programs built for the tests of the ELF reader."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = """
#include <stdio.h>
#include <math.h>
int counter = 3;
__attribute__((noinline)) int add(int a, int b) { return a + b + counter; }
static __attribute__((noinline, used)) int hidden(int a) { return a * 3; }
__attribute__((weak, noinline)) int soft(void) { return 1; }
int add_alias(int a, int b) __attribute__((alias("add")));
static int chosen(void) { return 5; }
static int (*pick(void))(void) { return chosen; }
int choose(void) __attribute__((ifunc("pick")));
int main(int argc, char **argv) {
    printf("%d %f\\n", add(argc, 2) + hidden(argc) + soft() + choose(), cos(argc));
    return 0;
}
"""

Builder = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Compile C text with flags; the same request is built once."""
    made: dict[tuple[str, ...], Path] = {}

    def compile_program(*flags: str, source: str = SOURCE) -> Path:
        key = (source, *flags)
        if key not in made:
            directory = tmp_path_factory.mktemp("elf")
            (directory / "p.c").write_text(source)
            path = directory / "p"
            command = ["gcc", "-O1", "-o", str(path), str(directory / "p.c"), *flags, "-lm"]
            subprocess.run(command, check=True)
            made[key] = path
        return made[key]

    return compile_program
