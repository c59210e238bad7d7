"""Compiles IR modules, loads them into the running kernel, and reads back what they print."""

from __future__ import annotations

import struct
from collections.abc import Callable

from pystap.backend.bpf import artifact as a
from pystap.backend.bpf.compile import compile_module
from pystap.backend.bpf.facts import running_kernel
from pystap.ir.module import Module
from pystap.kernel import bpf, cpu
from pystap.kernel.links import attach_raw_tracepoint, attach_tracing
from pystap.kernel.maps import Map, create_map
from pystap.kernel.programs import Program, load_btf, load_program, program_info, run_program
from pystap.kernel.ringbuf import RingBuffer
from pystap.output import formatspec, records
from pystap.output.formats import ITEM_CONTROL
from pystap.output.render import render

RING = 1 << 20


class Loaded:
    """A loaded artifact; use as ``with``."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.artifact = compile_module(module, running_kernel())
        self.maps: list[Map] = []
        self.programs: list[Program] = []
        self.links: list[bpf.Handle] = []
        self.output = b""
        self.errors: list[str] = []
        self.controls: list[object] = []
        try:
            self._create_maps()
            self._load()
        except BaseException:
            self.close()
            raise

    def _create_maps(self) -> None:
        for spec in self.artifact.maps:
            entries = spec.max_entries
            if not entries:
                entries = RING if spec.role == "output" else cpu_slots() * a.LEVELS
            made = create_map(
                spec.type, spec.key_size, spec.value_size, entries, flags=spec.flags,
                name=spec.name,
            )  # fmt: skip
            self.maps.append(made)
            if spec.content:
                made.update(bytes(4), spec.content)
            if spec.frozen:
                made.freeze()
        self.by_role = {spec.role: m for spec, m in zip(self.artifact.maps, self.maps)}
        self.by_name = {spec.name: m for spec, m in zip(self.artifact.maps, self.maps)}
        ring = self.by_role.get("output")
        self.ring = RingBuffer(ring.fd, RING) if ring else None
        self.control = self.by_role["control"].mmap()
        self.words = self.control.view.cast("Q")
        self.words[a.CONTROL_STATE] = a.STATE_RUNNING

    def _load(self) -> None:
        self.reassembler = records.Reassembler()
        for spec in self.artifact.programs:
            code = bytearray(spec.insns)
            for at, index in spec.fixups:
                struct.pack_into("<i", code, at * 8 + 4, self.maps[index].fd)
            with load_btf(spec.btf) as btf:
                self.programs.append(
                    load_program(
                        spec.type,
                        bytes(code),
                        name=spec.name,
                        flags=bpf.F_SLEEPABLE if spec.sleepable else 0,
                        expected_attach_type=spec.expected_attach,
                        attach_btf_id=spec.attach_btf_id,
                        btf_fd=btf.fd,
                        func_info=spec.func_info,
                    )
                )

    def verified(self) -> list[int]:
        """Instructions the verifier looked at, for each program."""
        return [program_info(p.fd).verified_instructions for p in self.programs]

    def run_session(self) -> None:
        """Run every session program once, in order."""
        for spec, program in zip(self.artifact.programs, self.programs):
            if spec.attach == "session":
                run_program(program.fd)
        self.read()

    def run(self, probe: int) -> None:
        """Run the session program of one probe."""
        for spec, program in zip(self.artifact.programs, self.programs):
            if spec.attach == "session" and spec.probes == (probe,):
                run_program(program.fd)
        self.read()

    def during(self, action: Callable[[], object]) -> None:
        """Attach the tracing programs while ``action`` runs."""
        links = [
            attach_tracing(program.fd, spec.expected_attach)
            if spec.attach == "tp_btf"
            else attach_raw_tracepoint(program.fd, spec.target)
            for spec, program in zip(self.artifact.programs, self.programs)
            if spec.attach in ("tp_btf", "raw_tp")
        ]
        try:
            action()
        finally:
            for link in links:
                link.close()
        self.read()

    def read(self) -> None:
        """Consume the ring buffer."""
        if self.ring is None:
            return
        for record in self.ring.records():
            for whole in self.reassembler.feed(bytes(record)):
                for number, at, end in records.items(whole):
                    self._item(whole, number, at, end)

    def _item(self, record: bytes, number: int, at: int, end: int) -> None:
        if number < ITEM_CONTROL:
            fmt = self.artifact.formats[number]
            args = records.values(record, formatspec.argument_kinds(fmt), at, end)
            self.output += render(fmt, args)
            return
        item = records.control(record, number, at, end)
        self.controls.append(item)
        if isinstance(item, records.ErrorItem):
            self.errors.append(self._error(item))

    def _error(self, item: records.ErrorItem) -> str:
        if item.message == records.ERROR_TEXT:
            text = item.text.decode("latin-1")
        else:
            text = self.artifact.messages[item.message]
            text = text % item.values[: text.count("%")]
        if item.position != records.NO_ID:
            text += f" near {self.artifact.positions[item.position].text()}"
        for call in item.calls:
            text += f" called from {self.artifact.positions[call].text()}"
        return text

    def word(self, name: str) -> int:
        """Value of a scalar long."""
        info = next(g for g in self.artifact.globals if g.name == name)
        data = self.maps[info.map].lookup(bytes(4))
        assert data is not None
        value: int = struct.unpack_from("<q", data, info.offset)[0]
        return value

    def context_word(self, word: int) -> int:
        """Sum of a header word over all contexts."""
        contexts = self.by_role["context"]
        total = 0
        for i in range(contexts.max_entries):
            data = contexts.lookup(struct.pack("<I", i))
            assert data is not None
            total += struct.unpack_from("<q", data, word * 8)[0]
        return total

    def missed(self) -> int:
        """Hits at most that came to no program: the CPU had left one in the middle of another."""
        return sum(program_info(program.fd).recursion_misses for program in self.programs)

    def close(self) -> None:
        for link in self.links:
            link.close()
        if getattr(self, "ring", None):
            self.ring.close()
        if hasattr(self, "control"):
            self.words.release()
            self.control.close()
        for thing in (*self.programs, *self.maps):
            thing.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cpu_slots() -> int:
    return max(cpu.possible_cpus()) + 1


def output_of(module: Module) -> tuple[bytes, list[str]]:
    """Output and errors of running all session probes once."""
    with Loaded(module) as loaded:
        loaded.run_session()
        return loaded.output, loaded.errors
