"""Functions of the running kernel and its modules that can be probed.

/proc/kallsyms names all symbols; which of them are functions that may be probed is told by
tracefs (``available_filter_functions``) and debugfs (``kprobes/blacklist``).  Where the first
cannot be read, sections that the kernel keeps free of probes are left out by their bounds.
The files are searched as they are: taking 120,000 lines apart would cost more than all the rest.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

from pystap.typing import Final, NamedTuple, TypeAlias

_KALLSYMS: Final = "/proc/kallsyms"
_BLACKLIST: Final = "/sys/kernel/debug/kprobes/blacklist"
_FILTER_FILE: Final = "available_filter_functions"
# Made by the compiler or the linker: stubs, thunks, and the rarely executed halves of functions.
_NO_FUNCTIONS: Final = (
    b"__pfx_", b"__cfi_", b"__SCT__", b"__x86_indirect_", b"__x86_return_", b"__kstrtab",
)  # fmt: skip
_COLD: Final = re.compile(rb"\.cold(?:\.\d+)?$")
# Bounds of sections whose code runs where a probe could not be handled, or is gone after booting.
_BOUNDS: Final = (
    b"__noinstr_text_start", b"__noinstr_text_end", b"__kprobes_text_start", b"__kprobes_text_end",
    b"__entry_text_start", b"__entry_text_end", b"_sinittext", b"_einittext",
)  # fmt: skip
# Bounds are symbols, too, and look like functions.
_MARK: Final = re.compile(rb"^(?:__\w*_text_(?:start|end)|_[se](?:text|inittext)|_text|_etext)$")
# What kallsyms lists in place of a module: the kernel, BPF programs and trampolines.
_NO_MODULE: Final = re.compile(rb"bpf|__builtin__.*|")

_MANY: Final = 16  # searches that take as long as making a table

_Symbol: TypeAlias = tuple[bytes, bytes, bytes]  # address in digits, name, module


class KernelFunction(NamedTuple):
    """A function: ``module`` is empty for the kernel's own.

    ``instance`` counts functions of one name by address when there are several (of which
    ``copies`` tells), -1 when the name is enough.
    """

    name: str
    module: str
    instance: int = -1
    copies: int = 1


class FunctionTable:
    """Look-ups among the functions; each file is read when it is first needed."""

    def __init__(
        self,
        kallsyms: str = _KALLSYMS,
        filter_file: Callable[[], bytes | None] | None = None,
        blacklist: str = _BLACKLIST,
        symbols: bytes | None = None,
    ) -> None:
        """``symbols`` are those of a kernel that does not run, in the form of kallsyms."""
        self._path = kallsyms
        self._filter_file = filter_file or _read_filter_file
        self._blacklist_path = blacklist
        self._symbols = symbols
        self._asked = 0
        self._by_name: dict[bytes, list[_Symbol]] = {}
        self._traceable: frozenset[bytes] | None = None
        self._traceable_read = False
        self._blacklisted: frozenset[bytes] | None = None
        self._ranges: list[tuple[bytes, bytes]] | None = None

    def matching(self, pattern: str, module: str = "") -> list[KernelFunction]:
        """Functions that can be probed whose name fits a pattern (``* ? []``), by name.

        ``module`` is empty for the kernel itself, else a pattern of module names.
        """
        symbols = self._scan(_pattern(pattern))
        symbols = [s for s in symbols if b".cold" not in s[1] or not _COLD.search(s[1])]
        wanted = _wanted_modules(module, symbols)
        counts = _repeated(symbols)
        usable = self._test()
        functions = [
            KernelFunction(name.decode("latin-1"), owner.decode("latin-1"))
            for address, name, owner in symbols
            if owner in wanted and name not in counts and usable(address, name, owner)
        ]
        copies: dict[tuple[bytes, bytes], list[bytes]] = {}
        for address, name, owner in symbols:
            if name in counts and owner in wanted:
                copies.setdefault((name, owner), []).append(address)
        for (name, owner), places in copies.items():
            functions += [
                KernelFunction(_text(name), _text(owner), at, counts[name])
                for at, address in enumerate(sorted(places))
                if usable(address, name, owner)
            ]
        functions.sort()
        return functions

    def code(self, name: str, module: str = "") -> list[KernelFunction]:
        """What may be probed of the code that has a name, by address.

        In contrast to :meth:`matching` parts of functions, too, that the compiler put elsewhere.
        """
        raw = name.encode("latin-1")
        known = self._of_name(raw)
        exact = sorted(s for s in known if _text(s[2]) == module)
        copies = len(known)
        base = [(a, raw.partition(b".")[0], owner) for a, _, owner in exact]
        return [
            KernelFunction(name, module, at if copies > 1 else -1, copies)
            for at, symbol in enumerate(exact)
            if self._usable(symbol) or (b"." in raw and self._usable(base[at]))
        ]

    def _of_name(self, name: bytes) -> list[_Symbol]:
        """The code symbols of a name; who asks for many gets a table."""
        self._asked += 1
        if self._asked > _MANY and not self._by_name:
            for symbol in self._scan(rb"[^\n\t]*"):
                self._by_name.setdefault(symbol[1], []).append(symbol)
        return self._by_name.get(name, []) if self._by_name else self._scan(re.escape(name))

    def refusal(self, name: str, module: str = "") -> str:
        """Why a function cannot be probed; empty if it does not exist (or can be)."""
        raw = name.encode("latin-1")
        exact = [s for s in self._scan(re.escape(raw), stubs=True) if _text(s[2]) == module]
        if not exact:
            return ""
        if raw.startswith(_NO_FUNCTIONS) or _COLD.search(raw):
            return "it is a part of a function or a stub that the compiler made"
        if raw in self._kprobe_blacklist():
            return "the kernel forbids it (kprobes/blacklist)"
        if any(self._usable(symbol) for symbol in exact):
            return ""
        if self._filter() is not None:
            return "the kernel was built without a place for probes in it (notrace)"
        return "it is in a section that the kernel keeps free of probes"

    def variants(self, name: str, module: str = "") -> list[str]:
        """Names under which the compiler put altered copies of a function (``NAME.isra.0``)."""
        raw = re.escape(name.encode("latin-1"))
        return sorted(
            _text(full)
            for _, full, owner in self._scan(raw + rb"\.[^\n\t]*")
            if _text(owner) == module and not _COLD.search(full)
        )

    def names(self, module: str = "") -> list[str]:
        """Names of all functions that can be probed, for "did you mean"."""
        return [function.name for function in self.matching("*", module)]

    def modules(self) -> list[str]:
        """Names of the loaded modules that have functions."""
        owners = {owner for _, _, owner in self._scan(rb"[^\n\t]*")}
        return sorted(_text(owner) for owner in owners if not _NO_MODULE.fullmatch(owner))

    def exported(self) -> frozenset[str] | None:
        """Names of exported symbols, None where the kernel does not tell."""
        self._scan(b"_stext")
        found = re.findall(rb" [rR] __ksymtab_([^\n\t]+)", self._symbols or b"")
        return frozenset(map(_text, found)) if found else None

    def at(self, address: int) -> tuple[KernelFunction, int] | None:
        """The function an address lies in, and its distance from the function's beginning."""
        from pystap.debuginfo.kallsyms import Kallsyms

        self._scan(b"_stext")
        assert self._symbols is not None  # it was read just now
        symbol = Kallsyms(contents=self._symbols).lookup(address)
        if symbol is None:
            return None
        for function in self.matching(_literal(symbol.name), _literal(symbol.module)):
            if function.copies == 1 or self.address(function) == symbol.address:
                return function, symbol.offset
        return None

    def address(self, function: KernelFunction) -> int:
        """Where a function begins; 0 when it is gone or addresses are hidden."""
        name = re.escape(function.name.encode("latin-1"))
        found = sorted(a for a, _, owner in self._scan(name) if _text(owner) == function.module)
        at = max(function.instance, 0)
        return int(found[at], 16) if at < len(found) else 0

    # --- the files ------------------------------------------------------------------------------

    def _scan(self, pattern: bytes, stubs: bool = False) -> list[_Symbol]:
        """The code symbols whose name fits."""
        if self._symbols is None:
            with open(self._path, "rb") as file:
                self._symbols = file.read()
        data = self._symbols
        width = data.find(b" ")
        without = b"" if stubs else b"(?!" + b"|".join(map(re.escape, _NO_FUNCTIONS)) + b")"
        line = rb" [tTwW] " + without + b"(" + pattern + rb")(?:\t\[([^\]\n]+)\])?\n"
        return [
            (data[m.start() - width : m.start()], m[1], m[2] or b"")
            for m in re.finditer(line, data)
        ]

    def _usable(self, symbol: _Symbol) -> bool:
        return self._test()(*symbol)

    def _test(self) -> Callable[[bytes, bytes, bytes], bool]:
        """What tells of address, name and module whether there may be probes."""
        refused = self._kprobe_blacklist()
        traceable = self._filter()
        if traceable is not None:
            return lambda _, name, owner: (
                name not in refused
                and ((name + b" [" + owner + b"]" if owner else name) in traceable)
            )
        sections = sorted(self._sections())
        starts = [start for start, _ in sections]

        def outside(address: bytes, name: bytes, _: bytes) -> bool:
            # digits of equal number compare as what they stand for
            at = bisect_right(starts, address) - 1
            if at >= 0 and address < sections[at][1]:
                return False
            return name not in refused and not (name.startswith(b"_") and _MARK.match(name))

        return outside

    def _filter(self) -> frozenset[bytes] | None:
        if not self._traceable_read:
            self._traceable_read = True
            listed = self._filter_file()
            self._traceable = None if listed is None else frozenset(listed.split(b"\n"))
        return self._traceable

    def _kprobe_blacklist(self) -> frozenset[bytes]:
        if self._blacklisted is None:
            try:
                with open(self._blacklist_path, "rb") as file:
                    lines = file.read().split(b"\n")
            except OSError:  # without debugfs or without kprobes there is none
                lines = []
            self._blacklisted = frozenset(line.partition(b"\t")[2] for line in lines if line)
        return self._blacklisted

    def _sections(self) -> list[tuple[bytes, bytes]]:
        if self._ranges is None:
            marks = {name: address for address, name, _ in self._scan(b"|".join(_BOUNDS))}
            self._ranges = [
                (marks[start], marks[end])
                for start, end in zip(_BOUNDS[::2], _BOUNDS[1::2])
                if start in marks and end in marks
            ]
        return self._ranges


def _wanted_modules(pattern: str, symbols: list[_Symbol]) -> set[bytes]:
    """Those modules of symbols that a pattern fits, the kernel (empty) for an empty pattern."""
    wanted = re.compile(_pattern(pattern) if pattern else b"")
    return {owner for owner in {owner for _, _, owner in symbols} if wanted.fullmatch(owner)}


def _repeated(symbols: list[_Symbol]) -> dict[bytes, int]:
    """Names that several symbols have, and how many."""
    names = [name for _, name, _ in symbols]
    if len(set(names)) == len(names):
        return {}
    counts: dict[bytes, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return {name: count for name, count in counts.items() if count > 1}


def _pattern(glob: str) -> bytes:
    """A shell pattern as a regular expression over a line of the files."""
    out = b""
    at = 0
    while at < len(glob):
        char = glob[at]
        at += 1
        if char == "*":
            out += rb"[^\n\t]*"
        elif char == "?":
            out += rb"[^\n\t]"
        elif char == "[" and (end := glob.find("]", at + 1)) > 0:
            inside = glob[at:end].replace("\\", "\\\\")
            inside = "^" + inside[1:] if inside[0] in "!^" else inside
            out += b"[" + inside.encode("latin-1") + b"]"
            at = end + 1
        else:
            out += re.escape(char.encode("latin-1", "replace"))
    return out


def _literal(name: str) -> str:
    """A pattern that only a name itself fits."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _read_filter_file() -> bytes | None:
    """What ftrace can hook, None where tracefs or the right to read it is missing."""
    from pystap.kernel.event_systems import read_tracefs

    return read_tracefs(_FILTER_FILE)
