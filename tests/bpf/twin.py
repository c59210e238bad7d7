"""The same expression in the kernel and in the reference interpreter."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from types import TracebackType

from pystap.backend.reference import Environment, Interpreter
from pystap.ir import ops
from pystap.ir.types import Global, Ty

from .build import ModuleBuilder, printf
from .harness import Loaded

Make = Callable[..., "ops.Expr | list[ops.Expr]"]


class Twin:
    """``make(*globals)`` gives one expression, or several, over globals of the kinds asked for.

    ``kinds`` has an ``s`` for each string and an ``n`` for each long.  The program is loaded once
    and run for each tuple of values.
    """

    def __init__(
        self,
        make: Make,
        kinds: str,
        *,
        environment: Callable[[], Environment] = Environment,
        regexes: list[object] | None = None,
        **limits: object,
    ) -> None:
        self.environment = environment
        builder = ModuleBuilder(**limits)
        self.variables: list[Global] = []
        for i, kind in enumerate(kinds):
            ty, name = (Ty.STR, f"s{i}") if kind == "s" else (Ty.LONG, f"n{i}")
            self.variables.append(builder.scalar(name, ty))
        builder.pos()
        builder.module.regexes = list(regexes or [])  # type: ignore[arg-type]
        made = make(*self.variables)
        exprs = made if isinstance(made, list) else [made]
        fmt = "|".join("%s" if ops.type_of(e) is Ty.STR else "%d" for e in exprs)
        builder.begin(printf(fmt, *exprs))
        self.module = builder.module
        self.tokenizers: dict[int, object] = {}
        self.loaded = Loaded(self.module)
        self.cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self.cpus)})  # contexts belong to CPUs

    def kernel(self, *values: str | int) -> str:
        """The result in the kernel, or the error."""
        loaded = self.loaded
        places = {g.name: g for g in loaded.artifact.globals}
        for var, value in zip(self.variables, values, strict=True):
            place = places[var.name]
            store = loaded.maps[place.map]
            data = bytearray(store.lookup(bytes(4)) or b"")
            data[place.offset : place.offset + place.size] = encoded(value, place.size)
            store.update(bytes(4), bytes(data))
        loaded.output = b""
        loaded.errors.clear()
        loaded.words[0] = 1  # running, also after an error
        loaded.run_session()
        if loaded.errors:
            return "ERROR: " + loaded.errors[0].partition(" near ")[0]
        return loaded.output.decode("latin-1")

    def reference(self, *values: str | int) -> str:
        """The result of the interpreter, or the error."""
        for var, value in zip(self.variables, values, strict=True):
            var.init = value
        interpreter = Interpreter(self.module, self.environment())
        interpreter.state.tokenizers = self.tokenizers  # type: ignore[assignment]
        result = interpreter.run()
        if result.errors:
            return result.messages[0].partition(" near ")[0]
        return result.output.decode("latin-1")

    def check(self, *values: str | int) -> str:
        """Both results, which must be the same."""
        kernel, reference = self.kernel(*values), self.reference(*values)
        assert kernel == reference, f"{values!r}: kernel {kernel!r}, reference {reference!r}"
        return kernel

    def verified(self) -> int:
        """Instructions the verifier looked at."""
        return sum(self.loaded.verified())

    def close(self) -> None:
        """Unload the program."""
        os.sched_setaffinity(0, self.cpus)
        self.loaded.close()

    def __enter__(self) -> Twin:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def encoded(value: str | int, size: int) -> bytes:
    """What a variable of ``size`` bytes holds; behind the NUL there is garbage on purpose."""
    if isinstance(value, int):
        return struct.pack("<Q", value & (1 << 64) - 1)
    data = value.encode("latin-1")
    assert len(data) < size
    assert 0 not in data
    return (data + b"\0").ljust(size, b"#")
