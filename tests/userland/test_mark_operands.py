"""Arguments of marks in every form that assemblers write, in notes made by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import inprocess
from userland.programs import build

# operand of a mark, the directive to print it with, and what it is
OPERANDS = [
    ("-4@%edi", "%d", -5),
    ("4@%edi", "%u", 0xFFFF_FFFB),
    ("8@%rdi", "%d", 0x1234_5678_FFFF_FFFB),
    ("-8@%rdi", "%d", 0x1234_5678_FFFF_FFFB),
    ("-2@%di", "%d", -5),
    ("2@%di", "%d", 0xFFFB),
    ("-1@%dil", "%d", -5),
    ("1@%dil", "%d", 0xFB),
    ("1@%bh", "%d", 0x82),
    ("-1@%bh", "%d", 0x82 - 256),
    ("1@%bl", "%d", 0x7F),
    ("8@%r12", "%d", 77),
    ("-4@%r12d", "%d", 77),
    ("2@%r12w", "%d", 77),
    ("-1@%r12b", "%d", 77),
    ("%r12", "%d", 77),
    ("8@$-3", "%d", -3),
    ("-4@$0x7fffffff", "%d", 0x7FFF_FFFF),
    ("$12", "%d", 12),
    ("-4@(%rsi)", "%d", -100),
    ("4@4(%rsi)", "%d", 101),
    ("-4@-4(%rsi)", "%d", 99),
    ("-4@(%rsi,%r13,4)", "%d", 102),
    ("-4@0x4(%rsi,%r13,4)", "%d", -103),
    ("-4@-4(%rsi,%r13,4)", "%d", 101),
    ("-4@(%rsi,%r14)", "%d", 101),
    ("-4@(,%r15,4)", "%d", 102),
    ("-1@(%rsi)", "%d", -100),
    ("2@(%rsi)", "%d", 0xFF9C),
    ("-4@table(%rip)", "%d", 99),
    ("-4@table+8(%rip)", "%d", 101),
    ("-4@8+table(%rip)", "%d", 101),
    ("-4@table+12-4(%rip)", "%d", 101),
    ("8f@8(%r11)", "%#x", 0x3FF8_0000_0000_0000),
    ("4f@(%r11)", "%#x", 0x4020_0000),
]
REFUSED = [
    ("8f@%xmm0", r"'\$arg1' is in register %xmm0, which is not at hand"),
    ("8@%st0", r"'\$arg1' is in register %st0, which is not at hand"),
    ("8@(%xmm1)", "register %xmm1 is not at hand"),
    ("4@nowhere(%rip)", "an argument is at symbol 'nowhere', which .* does not have"),
    ("8@$nowhere", "'nowhere' is known to the running program only"),
    ("8@@@", r"'\$arg1' is at '8@@@', which is not understood"),
    ("16@(%rdi)", r"'\$arg1' has 16 bytes"),
    ("3@%rdi", r"'\$arg1' has 3 bytes"),
]

NOTE = """
    .pushsection .note.stapsdt,"?","note"
    .balign 4
    .4byte 8, {end} - {start}, 3
    .asciz "stapsdt"
{start}:
    .8byte {place}
    .8byte _.stapsdt.base
    .8byte 0
    .asciz "app"
    .asciz "{name}"
    .asciz "{args}"
{end}:
    .balign 4
    .popsection
"""
SOURCE = """
    .data
    .globl table
    .type table, @object
    .size table, 20
table:
    .4byte 99, -100, 101, 102, -103
numbers:
    .4byte 0x40200000, 0
    .8byte 0x3ff8000000000000
    .text
    .globl main
    .type main, @function
main:
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    movabs $0x12345678fffffffb, %rdi
    lea table(%rip), %rsi
    mov %rsi, %r15
    add $4, %rsi
    add $12, %r15
    shr $2, %r15
    mov $0x827f, %ebx
    mov $77, %r12d
    mov $2, %r13d
    mov $4, %r14d
    lea numbers(%rip), %r11
mark:
    nop
    xor %eax, %eax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    ret
    .size main, . - main
    .section .note.GNU-stack,"",@progbits
    .section .stapsdt.base,"aG",@progbits,.stapsdt.base,comdat
    .weak _.stapsdt.base
    .hidden _.stapsdt.base
_.stapsdt.base: .space 1
    .text
"""


def assemble(folder: Path, operands: list[str], flags: str) -> Path:
    notes = [
        NOTE.format(start=f"s{n}", end=f"e{n}", place="mark", name=f"m{n}", args=args)
        for n, args in enumerate(operands)
    ]
    (folder / "marks.s").write_text(SOURCE + "".join(notes))
    return build("", folder, f"{flags} marks.s")


@pytest.mark.parametrize("flags", ["-no-pie -static", "-no-pie", "-pie"])
def test_values(tmp_path: Path, flags: str) -> None:
    # an address without a base is below 2^31 only in a program that does not move
    operands = [one for one in OPERANDS if "(," not in one[0] or "-no-pie" in flags]
    program = assemble(tmp_path, [text for text, _, _ in operands], flags)
    probes = [
        f'probe process("{program}").mark("m{n}") {{ values[{n}] = $arg1 }}'
        for n in range(len(operands))
    ]
    shown = [f'printf("{form}\\n", values[{n}])' for n, (_, form, _) in enumerate(operands)]
    script = "\n".join(["global values", *probes, f"probe end {{ {' '.join(shown)} }}"])
    done = inprocess.Run("-c", str(program), "-e", script).end(60)
    assert (done.err, done.status) == ("", 0)
    found = dict(zip((text for text, _, _ in operands), done.out.split(), strict=True))
    assert found == {
        text: f"{value:#x}" if "x" in form else str(value) for text, form, value in operands
    }


def test_several_on_one_line(tmp_path: Path) -> None:
    program = assemble(tmp_path, ["-4@%edi 8@-4(%rsi) -4@(%rsi,%r13,4) $7"], "-pie")
    script = f'probe process("{program}").mark("m0") {{ println($arg1, $arg3, $arg4) }}'
    assert inprocess.Run("-c", str(program), "-e", script).end(60).out == "-51027\n"


@pytest.mark.parametrize(("operand", "message"), REFUSED)
def test_refused(tmp_path: Path, operand: str, message: str) -> None:
    program = assemble(tmp_path, [operand], "-pie")
    script = f'probe process("{program}").mark("m0") {{ println($arg1) }}'
    done = inprocess.Run("-p2", "-e", script).end(60)
    assert done.status == 1
    assert re.search("semantic error: .*" + message, done.err), done.err
