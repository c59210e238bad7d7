"""Which programs are one."""

from __future__ import annotations

from pystap.backend.bpf.artifact import ProgramSpec
from pystap.backend.bpf.twins import without_twins
from pystap.kernel.btfwriter import pack_func_info


def program(probe: int, attach: str, code: bytes = b"code", **more: object) -> ProgramSpec:
    """A program of one probe, with a callback."""
    info = pack_func_info([(0, 10 + probe), (5, 20 + probe)])
    spec = ProgramSpec(
        f"probe_{probe}", 2, 48, code, ((3, 1),), b"btf", info, attach, "", 0, False, (probe,)
    )
    return spec._replace(**more)


def served(programs: list[ProgramSpec]) -> list[tuple[str, tuple[int, ...]]]:
    return [(spec.name, spec.probes) for spec in without_twins(programs)]


def test_twins_are_one() -> None:
    programs = [program(0, "uprobe_multi"), program(1, "session"), program(2, "uprobe_multi")]
    assert served(programs) == [("probe_0", (0, 2)), ("probe_1", (1,))]


def test_what_is_not_told_apart_stays() -> None:
    programs = [program(0, "fentry"), program(1, "fentry"), program(2, "tp_btf")]
    assert [probes for _, probes in served(programs)] == [(0,), (1,), (2,)]


def test_every_difference_counts() -> None:
    programs = [
        program(0, "uprobe_multi"),
        program(1, "uretprobe_multi"),
        program(2, "uprobe"),
        program(3, "uprobe_multi", b"other"),
        program(4, "uprobe_multi", fixups=((3, 2),)),
        program(5, "uprobe_multi", sleepable=True),
        program(6, "uprobe_multi", func_info=pack_func_info([(0, 10), (6, 20)])),
    ]
    assert len(served(programs)) == len(programs)
