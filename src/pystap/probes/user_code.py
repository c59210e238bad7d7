"""Context variables of places in programs, the kernel and its modules, as DWARF describes them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from pystap.debuginfo import btftypes as t
from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.btf import BtfError
from pystap.debuginfo.dwarf import Op
from pystap.debuginfo.dwarfscopes import frame_base, globals_of, parameters, variables_at
from pystap.debuginfo.libdw import DwarfError
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import clone
from pystap.probes.base import Context, unknown_variable
from pystap.probes.core import CoreContext, CoreIntrinsic, CoreLoad
from pystap.probes.locations import Frame, Located, NoLocation, constant, evaluate, locate
from pystap.probes.pretty import text_depth, variables_text
from pystap.probes.returns import returned
from pystap.probes.target import (
    CType,
    Place,
    binary,
    error,
    expand,
    extended,
    listing_name,
    number,
)
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.debuginfo.debugfiles import DebugInfo
    from pystap.debuginfo.dwarf import Die
    from pystap.debuginfo.dwarfplaces import Place as CodePlace
    from pystap.debuginfo.types import Types

_RETURN_ADDRESS: Final = 8  # bytes below the canonical frame address on x86-64
_TEXTS: Final = ("$$vars", "$$parms", "$$locals")


class CodeContext(Context):
    """What is visible at one place of a program, or of the kernel."""

    def __init__(self, info: DebugInfo, place: CodePlace) -> None:
        self.info = info
        self.place = place
        self.types = info.types
        image = info.image
        #: whose variables these are: "kernel", a module's name, or None for those of a program
        self.kernel_module = None if image is None else image.module or "kernel"
        self.share_key = ("user code", info.path, place.pc, place.function.key)
        self._unused_key: object = ("user code", info.path)
        self._variables: dict[str, Die] | None = None

    def key_for(self, used: Collection[str]) -> object:
        """Alike in the whole program when nothing of the place is used."""
        return self.share_key if used else self._unused_key

    def own_types(self) -> Types:
        """Those of the program, or what debug information of the kernel has."""
        return self.types

    # ------------------------------------------------------------ variables

    def variables(self) -> list[tuple[str, str]]:
        """Parameters and locals that can be had here, with their C types."""
        found = []
        try:
            for name, die in self._visible().items():
                if self._has_value(die):
                    kind = listing_name(self.types, self.types.id_of(die.type()))
                    found.append((f"${name}", kind))
        except (DwarfError, BtfError):
            return []  # damaged: nothing can be had
        return found

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """A variable, an enumerator, or one of the ``$$`` texts."""
        try:
            return self._resolve(var)
        except (DwarfError, BtfError) as problem:
            raise error(str(problem), var.tok) from None

    def _resolve(self, var: ast.TargetVar) -> ast.Expr:
        if var.name.startswith("$$"):
            return self._text(var)
        name = var.name[1:]
        die = self._visible().get(name)
        if die is None:
            die = next(self._globals(name, ""), None)
        if die is None:
            return self._enumerator(var)
        return self._expand(die, var, name)

    def global_variable(self, node: ast.AtVar) -> ast.Expr:
        """``@var("name[@unit]"[, "program"])``; locals are found, too, without a unit.

        The program can only be this one: where others are loaded is not known.
        """
        own = self.info.image is not None or not node.module
        if not own and os.path.realpath(node.module or "") != os.path.realpath(self.info.path):
            raise error(f"variables of {node.module} can be had in its own probes only", node.tok)
        try:
            return self._global(node)
        except (DwarfError, BtfError) as problem:
            raise error(str(problem), node.tok) from None

    def _global(self, node: ast.AtVar) -> ast.Expr:
        name, _, unit = node.target.partition("@")
        die = None if unit else self._visible().get(name)
        if die is None:
            die = next(self._globals(name, unit), None)
        if die is None:
            raise error(
                f"unable to find global variable '{node.target}' in {self.info.path}", node.tok
            )
        return self._expand(die, node, name)

    def _expand(self, die: Die, var: ast.TargetVar | ast.AtVar, name: str) -> ast.Expr:
        try:
            place = self._place(die, var.tok)
        except NoLocation as reason:
            raise error(
                f"'${name}' not accessible at this address (pc: {self.place.pc:#x}): {reason}",
                var.tok,
            ) from None
        return expand(place, var.components, var.tok, var.address_of)

    def _enumerator(self, var: ast.TargetVar) -> ast.Expr:
        found = None if var.components else self.types.enumerator_anywhere(var.name[1:])
        if found is None:
            raise unknown_variable(var, [f"${name}" for name in self._visible()])
        types, type_id, value = found
        made = number(value, var.tok)
        made.ctype = CType(types, type_id, self.info.space)
        return made

    def _visible(self) -> dict[str, Die]:
        """Parameters and locals by name."""
        if self._variables is None:
            function = self.place.function
            found = {die.name: die for die in variables_at(function, self.place.pc)}
            # What was optimized out altogether is left with the abstract function only.
            for die in variables_at_origin(function):
                found.setdefault(die.name, die)
            self._variables = found
        return self._variables

    def _globals(self, name: str, unit: str) -> Iterator[Die]:
        """Variables outside functions: of this unit, then of others; of ``unit`` if given."""
        from pystap.debuginfo.dwarfplaces import file_fits, is_meant
        from pystap.debuginfo.qualified import is_qualified, take_apart

        scoped = name if is_qualified(name) else ""
        if scoped:
            name = take_apart(name).last
        if not unit:
            for die in globals_of(self.place.function.unit(), name):
                if _is_defined(die) and (not scoped or is_meant(die, scoped)):
                    yield die
        if self.info.image is not None and not self.info.image.has_variable(name):
            return
        for die in self.info.names.variables(name):
            if not _is_defined(die) or (scoped and not is_meant(die, scoped)):
                continue
            if not unit or file_fits(die.unit().name, unit):
                yield die

    # ------------------------------------------------------------ places of values

    def _place(self, die: Die, tok: Token) -> Place:
        """Where a variable is.  Raises :class:`NoLocation`."""
        type_id = self.types.id_of(die.type())
        located = self._located(die, tok)
        first, *more = located.words
        if located.memory:
            assert first is not None  # addresses are known or refused
            return Place(first, self.types, type_id, self.info.space, True)
        if all(word is None for word in located.words):
            raise NoLocation("optimized out")
        view = self.types.type(self.types.resolve(type_id))
        if not isinstance(view, (t.Struct, t.Array)):
            if first is None or more:
                raise NoLocation("only parts of it are known here" if not more else "too large")
            first = extended(first, self.types, type_id, tok)
        return Place(
            first or number(0, tok), self.types, type_id, self.info.space, False
        )._replace(words=located.words)

    def _located(self, die: Die, tok: Token) -> Located:
        frame = self._frame(tok)
        try:
            ops = die.location(c.AT_LOCATION, self.place.pc)
            if ops is not None:
                return locate(ops, frame)
        except DwarfError as problem:
            raise NoLocation(str(problem)) from None
        block = die.block(c.AT_CONST_VALUE)
        value = die.signed(c.AT_CONST_VALUE) if block is None else None
        if block is None and value is None:
            raise NoLocation("optimized out")
        return constant(block if block is not None else value or 0, frame)

    def _frame(self, tok: Token) -> Frame:
        owner = frame_base(self.place.function)
        at_entry = self.place.pc == owner.entry_pc()
        return Frame(
            self.types, owner, self.place.pc, at_entry, self.info.space, self._address, tok,
            self._own_of_thread,
        )  # fmt: skip

    def _own_of_thread(self, offset: ast.Expr, tok: Token) -> ast.Expr:
        """The address of a thread-local variable.  Raises :class:`NoLocation`."""
        from pystap.probes.thread_local import address_in_thread

        return address_in_thread(self.info.path, offset, self._bias(tok), tok)

    def _address(self, address: int, tok: Token) -> ast.Expr:
        """Where something with an address in the file is now.  Raises :class:`NoLocation`."""
        if self.info.image is not None:
            from pystap.probes.kernel_addresses import address_now

            return address_now(self.info.image, address, self.place.pc, self._bias(tok), tok)
        bias = self._bias(tok)
        return (
            number(address, tok) if bias is None else binary("+", bias, number(address, tok), tok)
        )

    def _bias(self, tok: Token) -> ast.Expr | None:
        """How far from the addresses of its file the program is loaded."""
        if not self.info.moves:
            return None
        here = CoreContext(tok=tok, type="long", kind="ip")
        return binary("-", here, number(self.place.pc, tok), tok)

    def _has_value(self, die: Die) -> bool:
        """Whether a variable can be had, for lists; its own token does not matter."""
        try:
            self._place(die, _no_token())
        except NoLocation:
            return False
        return True

    # ------------------------------------------------------------ texts

    def _text(self, var: ast.TargetVar) -> ast.Expr:
        if var.name not in _TEXTS:
            raise unknown_variable(var, [*(n for n, _ in self.variables()), *_TEXTS])
        wanted = {"$$parms": (True,), "$$locals": (False,), "$$vars": (True, False)}[var.name]
        depth = text_depth(var)
        items = [
            (name, self._readable(die, depth, var.tok))
            for name, die in self._visible().items()
            if (die.tag == c.TAG_FORMAL_PARAMETER) in wanted
        ]
        return variables_text(items, depth, var.tok)

    def _readable(self, die: Die, depth: int, tok: Token) -> Place | None:
        """A variable for a text; None when it cannot be had, or has no number."""
        try:
            place = self._place(die, tok)
        except NoLocation:
            return None
        view = place.view()
        if isinstance(view, (t.Struct, t.Array)):
            return place if depth and place.memory else None
        if isinstance(view, (t.Int, t.Enum, t.Float)):
            return place if view.size <= 8 else None
        return place if isinstance(view, t.Ptr) else None


class CalleeContext(CodeContext):
    """The entry of a function that counts when a certain one has called it (None: any)."""

    def __init__(self, info: DebugInfo, place: CodePlace, caller: CodePlace | None) -> None:
        super().__init__(info, place)
        self._caller = caller
        entry = None if caller is None else caller.entry
        self.share_key = ("user callee", info.path, place.pc, place.function.key, entry)
        self._unused_key = self.share_key  # the callers differ, whatever is used

    def guard(self, tok: Token) -> ast.Expr | None:
        """Whether the address to return to is in the caller's code."""
        if self._caller is None:
            return None
        back = self._return_address(tok)
        try:
            pieces = [
                (self._address(low, tok), high - low)
                for low, high in self._caller.function.ranges()
            ]
        except NoLocation as reason:
            raise error(f"'{self._caller.name}': {reason}", tok) from None
        tests = [
            binary(
                "&&",
                _compare(">", clone(back), start, tok),
                _compare(
                    "<=", clone(back), binary("+", clone(start), number(size, tok), tok), tok
                ),
                tok,
            )
            for start, size in pieces
        ]
        made: ast.Expr = tests[0]
        for test in tests[1:]:
            made = binary("||", made, test, tok)
        return made

    def _return_address(self, tok: Token) -> ast.Expr:
        """Where the function returns to.

        In the kernel its own unwinder tells: other probes may have replaced it on the stack.
        """
        if self.info.image is not None:
            args: list[ast.Expr] = [number(1, tok)]
            return CoreIntrinsic(tok=tok, type="long", name="stack_frame", args=args)
        where = evaluate([Op(c.OP_CALL_FRAME_CFA)], self._frame(tok))
        return CoreLoad(
            tok=tok,
            type="long",
            addr=binary("-", where, number(_RETURN_ADDRESS, tok), tok),
            space="user",
            size=8,
            signed=False,
        )


def _compare(op: str, left: ast.Expr, right: ast.Expr, tok: Token) -> ast.Expr:
    return ast.Compare(tok=tok, type="long", op=op, left=left, right=right)


class ReturnContext(CodeContext):
    """The return of a function: parameters are those of its entry, and there is a result."""

    def __init__(self, info: DebugInfo, place: CodePlace) -> None:
        super().__init__(info, place)
        self.share_key = ("user code", info.path, place.pc, place.function.key, "return")
        self._unused_key = ("user code", info.path, "return")
        self._entry: CodeContext = CodeContext(info, place)

    def entry(self) -> CodeContext:
        """What is seen where the parameters are in place."""
        return self._entry

    def variables(self) -> list[tuple[str, str]]:
        """``$return`` if the function has a result, then the parameters."""
        result = self.place.function.type()
        found = []
        if result is not None:
            found.append(("$return", listing_name(self.types, self.types.id_of(result))))
        known = {die.name for die in parameters(self.place.function)}
        return found + [(n, k) for n, k in self._entry.variables() if n[1:] in known]

    def _resolve(self, var: ast.TargetVar) -> ast.Expr:
        """The result; everything else as it was at the entry."""
        if var.name == "$return":
            place = self._result(var.tok)
            return expand(place, var.components, var.tok, var.address_of)
        if var.name == "$$return":
            has_result = self.place.function.type() is not None
            items = [("return", self._result(var.tok))] if has_result else []
            return variables_text(items, text_depth(var), var.tok)
        name = var.name[1:]
        if not name.startswith("$") and name not in self._visible():
            return self._global_or_enumerator(var, name)
        if var.address_of:
            raise error("cannot take the address of a value of the entry", var.tok)
        inner = ast.TargetVar(tok=var.tok, name=var.name, components=var.components)
        return ast.AtOp(tok=var.tok, name="entry", args=[inner])

    def _global_or_enumerator(self, var: ast.TargetVar, name: str) -> ast.Expr:
        """Globals are read now, not at the entry."""
        die = next(self._globals(name, ""), None)
        if die is None:
            return self._enumerator(var)
        return self._expand(die, var, name)

    def _result(self, tok: Token) -> Place:
        type_die = self.place.function.type()
        if type_die is None:
            raise error(f"'{self.place.name}' returns nothing", tok)
        return returned(self.types, self.types.id_of(type_die), tok, self.info.space)

    def _bias(self, tok: Token) -> ast.Expr | None:
        """Taken at the entry: the return is reported in the caller, maybe another file's."""
        if not self.info.moves:
            return None
        here: ast.Expr = CoreContext(tok=tok, type="long", kind="ip")
        here = ast.AtOp(tok=tok, name="entry", args=[here])
        return binary("-", here, number(self.place.pc, tok), tok)


class CalleeReturnContext(ReturnContext):
    """The return of a function that counts when a certain one has called it (None: any)."""

    def __init__(self, info: DebugInfo, place: CodePlace, caller: CodePlace | None) -> None:
        super().__init__(info, place)
        self._called = CalleeContext(info, place, caller)
        self._entry = self._called
        self.share_key = ("return", self._called.share_key)
        self._unused_key = self.share_key

    def guard(self, tok: Token) -> ast.Expr | None:
        """Whether the function was entered from the caller's code."""
        entered = self._called.guard(tok)
        return None if entered is None else ast.AtOp(tok=tok, name="entry", args=[entered])


def _is_defined(variable: Die) -> bool:
    """Whether this is more than a declaration."""
    return variable.has(c.AT_LOCATION) or not variable.flag(c.AT_DECLARATION)


def variables_at_origin(function: Die) -> list[Die]:
    """Parameters and outermost locals of the abstract function behind an instance."""
    origin = function.origin()
    if origin.key == function.key:
        return []
    kinds = (c.TAG_FORMAL_PARAMETER, c.TAG_VARIABLE)
    return [die for die in origin.children() if die.tag in kinds and die.name]


def _no_token() -> Token:
    """A token for nodes that nobody will see."""
    from pystap.lang.source import Source

    return Token("identifier", "", Source("", ""), 0)
