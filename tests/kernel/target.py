"""A small program to attach uprobes to, which reports what it sees."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pystap.debuginfo.elf import SHT_SYMTAB, STT_OBJECT, Elf

SOURCE = """
#include <stdio.h>
__attribute__((section(".probes"))) volatile unsigned short semaphore;
__attribute__((noinline)) int work(int n) { return n * 2 + semaphore * 100; }
__attribute__((noinline)) int other(int n) { return n + 7; }
int main(void) {
    int n;
    setlinebuf(stdout);
    while (scanf("%d", &n) == 1)
        printf("%d %d\\n", work(n), other(n));
    return 0;
}
"""


class Target:
    """The running program: ``ask`` makes it call work() and other() once."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.process = subprocess.Popen(
            [self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, number: int) -> tuple[int, int]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{number}\n")
        first, second = self.process.stdout.readline().split()
        return int(first), int(second)

    def offset(self, name: str) -> int:
        with Elf(self.path) as file:
            symbols = file.functions() + file.symbols(SHT_SYMTAB, (STT_OBJECT,))
            (address,) = [symbol.value for symbol in symbols if symbol.name == name]
            offset = file.file_offset(address)
        assert offset is not None
        return offset

    def close(self) -> None:
        self.process.communicate()

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
