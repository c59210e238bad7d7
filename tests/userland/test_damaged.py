"""Damaged debug information: an error or less to see, never a crash."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import inprocess
from pystap.debuginfo.elf import Elf
from userland.programs import build

SOURCE = """
struct pair { int x : 5; unsigned y; struct pair *next; char tag[8]; };
enum color { RED, GREEN };
static int counter = 1;
static inline __attribute__((always_inline)) int add(int a, int b) { return a + b; }
__attribute__((noinline)) int f(struct pair *p, enum color c) { return add(p->x, c) + counter; }
int main(void) { struct pair p = { 1, 2, &p, "tag" }; return f(&p, RED); }
"""
BODY = '{ println($p$$, $$vars, $counter, $p->next->y, @cast($p, "struct pair")->tag[1], $GREEN) }'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SOURCE, tmp_path_factory.mktemp("damaged"), "-g -O2")


def damaged(program: Path, seed: int) -> None:
    """Change some bytes of the debug information, or cut the file off."""
    chance = random.Random(seed)
    data = bytearray(program.read_bytes())
    with Elf(str(program)) as elf:
        sections = [s for s in elf.sections() if s.name.startswith(".debug_") and s.size]
    for _ in range(chance.choice((1, 3, 10, 40))):
        section = chance.choice(sections)
        data[section.offset + chance.randrange(section.size)] = chance.randrange(256)
    program.write_bytes(data)


@pytest.mark.parametrize("seed", range(12))
def test_damage(program: Path, seed: int, tmp_path: Path) -> None:
    copy = tmp_path / "program"
    copy.write_bytes(program.read_bytes())
    copy.chmod(0o755)
    damaged(copy, seed)
    where = f'process("{copy}")'
    script = f'probe {where}.function("f") {BODY} probe {where}.function("f").return {{ $return }}'
    for words in (
        ("-L", f'{where}.function("*")'),
        ("-L", f'{where}.statement("f@program.c:*")'),
        ("-p3", "-e", script),
    ):
        done = inprocess.Run(*words).end(60)
        assert "Traceback" not in done.err
        assert done.status in (0, 1)


def test_empty_sections(program: Path, tmp_path: Path) -> None:
    copy = tmp_path / "program"
    data = bytearray(program.read_bytes())
    with Elf(str(program)) as elf:
        section = elf.section(".debug_abbrev")
    assert section is not None
    data[section.offset : section.offset + section.size] = bytes(section.size)
    copy.write_bytes(data)
    copy.chmod(0o755)
    done = inprocess.Run("-L", f'process("{copy}").function("f")').end(60)
    assert done.out == f'process("{copy}").function("f")\n'  # by the symbol table
