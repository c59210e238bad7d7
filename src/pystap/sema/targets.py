"""Context variables, casts and the other @-operators of one body become ordinary expressions.

``@defined`` is answered here, and branches it rules out are dropped before anything in them is
looked at.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import clone, rewrite_children, walk
from pystap.probes.core import CoreContext, CoreIntrinsic, CoreLoad
from pystap.sema.fold import fold_expr, null, number
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.probes.base import Context
    from pystap.sema.entry import EntryBinder
    from pystap.sema.work import Work

_INTERESTING: Final = frozenset(
    (ast.TargetVar, ast.AtVar, ast.Cast, ast.Autocast, ast.AtOp, ast.EmbeddedExpr)
)
CONTEXTUAL_OPERATORS: Final = ("entry", "perf", "uregister", "kregister")


def needs_context(body: ast.Block) -> bool:
    """Whether a function body means something else in each probe that calls it."""
    return any(
        isinstance(node, ast.TargetVar)
        or (isinstance(node, ast.AtOp) and node.name in CONTEXTUAL_OPERATORS)
        for node in walk(body)
    )


def _is_unfinished(made: ast.Expr) -> bool:
    """Whether what a context made has parts that are to be expanded themselves."""
    return any(isinstance(part, (ast.AtOp, ast.Cast)) for part in walk(made))


class TargetExpander:
    """Rewrites bodies for one context (None: functions that need none).

    ``where`` names one probe point of several with unlike contexts, for error messages.
    ``entry`` is set once an ``@entry`` was met.
    """

    def __init__(self, work: Work, context: Context | None, where: str = "") -> None:
        self._work = work
        self._context = context
        self._where = where
        self._asking = 0  # depth of @defined: errors are answers
        self.entry: EntryBinder | None = None
        self._rules: dict[type, Callable[[Any], Any]] = {
            ast.If: self._if,
            ast.While: self._while,
            ast.Delete: self._delete,
            ast.Foreach: self._foreach,
            ast.Ternary: self._ternary,
            ast.Binary: self._binary,
            ast.Assign: self._assign,
            ast.TargetVar: self._target_var,
            ast.AtVar: self._at_var,
            ast.Cast: self._cast,
            ast.Autocast: self._autocast,
            ast.AtOp: self._at_op,
        }
        if work.env.skip_badvars:
            for value in (ast.TargetVar, ast.AtVar, ast.Cast, ast.Autocast):
                self._rules[value] = self._or_zero(self._rules[value])

    def expand_body(self, body: ast.Block) -> None:
        """Rewrite a body in place; errors are recorded, one for each failing expression."""
        if any(node.__class__ in _INTERESTING for node in walk(body)):
            self._visit(body)

    def expand(self, expr: ast.Expr) -> ast.Expr:
        """Rewrite one expression; raises ``DiagnosticError``."""
        made: ast.Expr = self._strict(expr)
        return made

    # --- walking --------------------------------------------------------------------------------

    def _visit(self, node: Any) -> Any:
        """Rewrite below; an expression that fails is reported and becomes 0."""
        try:
            return self._strict(node)
        except DiagnosticError as error:
            self._report(error, node)
            return number(0, node)

    def _strict(self, node: Any) -> Any:
        rule = self._rules.get(node.__class__)
        if rule is not None:
            return rule(node)
        rewrite_children(node, self._visit if isinstance(node, _STATEMENTS) else self._strict)
        return node

    def _report(self, error: DiagnosticError, _node: Any) -> None:
        """Record an error, once for each place however many contexts do not fit it."""
        found = error.diagnostic
        if found.token is not None:
            place = (found.token.source, found.token.offset)
            if place in self._work.bad_places:
                return
            self._work.bad_places.add(place)
        if self._where:
            found.notes.append(f"in probe {self._where}")
        self._work.diags.add(found)

    def _or_zero(self, rule: Callable[[Any], ast.Expr]) -> Callable[[Any], ast.Expr]:
        """A rule that gives 0 for what cannot be resolved, with a warning."""

        def forgiving(node: Any) -> ast.Expr:
            try:
                return rule(node)
            except DiagnosticError as error:
                if self._asking:
                    raise
                found = error.diagnostic
                self._work.diags.warn(f"{found.message}: 0 is used instead", found.token)
                return number(0, node)

        return forgiving

    def _if(self, node: ast.If) -> ast.Stmt:
        node.cond = fold_expr(self._visit(node.cond))
        if isinstance(node.cond, ast.Number):
            kept = node.then if node.cond.value else node.orelse
            if kept is None:
                return null(node)
            chosen: ast.Stmt = self._visit(kept)
            return chosen
        node.then = self._visit(node.then)
        if node.orelse is not None:
            node.orelse = self._visit(node.orelse)
        return node

    def _while(self, node: ast.While) -> ast.Stmt:
        node.cond = fold_expr(self._visit(node.cond))
        if isinstance(node.cond, ast.Number) and not node.cond.value:
            return null(node)
        node.body = self._visit(node.body)
        return node

    def _delete(self, node: ast.Delete) -> ast.Stmt:
        try:
            node.target = self._strict(node.target)
        except DiagnosticError as error:
            self._report(error, node.target)
            return null(node)
        return node

    def _foreach(self, node: ast.Foreach) -> ast.Stmt:
        """A histogram to iterate over must stay one: without it there is no loop."""
        try:
            node.base = self._strict(node.base)
        except DiagnosticError as error:
            self._report(error, node.base)
            return null(node)
        rewrite_children(node, self._visit)
        return node

    def _ternary(self, node: ast.Ternary) -> ast.Expr:
        node.cond = fold_expr(self._strict(node.cond))
        if isinstance(node.cond, ast.Number):
            chosen: ast.Expr = self._strict(node.yes if node.cond.value else node.no)
            return chosen
        node.yes = self._strict(node.yes)
        node.no = self._strict(node.no)
        return node

    def _binary(self, node: ast.Binary) -> ast.Expr:
        node.left = self._strict(node.left)
        if node.op in ("&&", "||"):
            node.left = fold_expr(node.left)
            if isinstance(node.left, ast.Number) and (node.left.value != 0) == (node.op == "||"):
                return number(int(node.op == "||"), node)
        node.right = self._strict(node.right)
        return node

    def _assign(self, node: ast.Assign) -> ast.Expr:
        """Contexts say what is done for variables of theirs."""
        target = node.target
        if self._context is not None and isinstance(target, ast.TargetVar):
            made = self._context.assign(target, node.op, lambda: self._strict(node.value))
            if made is not None:
                return made
        rewrite_children(node, self._strict)
        return node

    # --- target values --------------------------------------------------------------------------

    def _components(self, node: ast.TargetVar | ast.AtVar | ast.Cast | ast.Autocast) -> None:
        for component in node.components:
            if isinstance(component, ast.Subscript):
                component.index = fold_expr(self._strict(component.index))

    def _target_var(self, node: ast.TargetVar) -> ast.Expr:
        self._components(node)
        if self._context is None:
            raise _error("context variables can be used in probe handlers only", node.tok)
        made = self._context.resolve(node)
        return self._strict(made) if _is_unfinished(made) else made

    def _at_var(self, node: ast.AtVar) -> ast.Expr:
        self._components(node)
        places = (node.module or "").split(":")
        for module in places[:-1]:
            node.module = module
            try:
                return self._at_var_in(node)
            except DiagnosticError:
                continue  # the last one's says what is wrong
        node.module = places[-1] or None if len(places) > 1 else node.module
        return self._at_var_in(node)

    def _at_var_in(self, node: ast.AtVar) -> ast.Expr:
        """A global variable of one module, or program."""
        from pystap.probes.kernel_vars import expand_var

        context = self._context
        own = None if context is None else context.kernel_module
        named = node.module not in (None, "", own)
        other = node.module in ("kernel", "vmlinux") if own is None else named
        found = None if context is None or other else context.global_variable(node)
        made: ast.Expr = expand_var(node, self._work.env) if found is None else found
        return self._strict(made) if _is_unfinished(made) else made

    def _cast(self, node: ast.Cast) -> ast.Expr:
        from pystap.sema.casts import expand_cast

        node.operand = self._strict(node.operand)
        self._components(node)
        return expand_cast(node, self._work.env, self._context)

    def _autocast(self, node: ast.Autocast) -> ast.Expr:
        from pystap.probes.target import CType, expand_ctype

        node.operand = self._strict(node.operand)
        self._components(node)
        ctype = node.operand.ctype
        if not isinstance(ctype, CType):
            return node  # its type may come from elsewhere: see pystap.sema.autocast
        return expand_ctype(node.operand, ctype, node.components, node.tok, node.address_of)

    # --- @-operators ----------------------------------------------------------------------------

    def _at_op(self, node: ast.AtOp) -> ast.Expr:
        if node.name == "defined":
            return self._defined(node)
        if node.name == "entry":
            return self._entry(node)
        node.args = [self._strict(arg) for arg in node.args]
        rule = {
            "enum": self._enum,
            "enumname": self._enumname,
            "const": self._const,
            "kderef": self._deref,
            "uderef": self._deref,
            "kregister": self._register,
            "uregister": self._register,
            "perf": self._perf,
            "probewrite": self._probewrite,
        }[node.name]
        return rule(node)

    def _defined(self, node: ast.AtOp) -> ast.Expr:
        self._asking += 1
        try:
            made = self._strict(clone(node.args[0]))
        except DiagnosticError:
            return number(0, node)
        finally:
            self._asking -= 1
        if any(isinstance(part, ast.Autocast) for part in walk(made)):
            node.args = [made]
            return node
        return number(1, node)

    def _entry(self, node: ast.AtOp) -> ast.Expr:
        from pystap.sema.entry import EntryBinder, entry_context

        if self._asking:
            there = TargetExpander(self._work, entry_context(self._context, node.tok))
            return there.expand(node.args[0])
        if self.entry is None:
            self.entry = EntryBinder(self._work, self._context, node.tok)
        return self.entry.value(node.args[0], node.tok)

    def _enum(self, node: ast.AtOp) -> ast.Expr:
        from pystap.sema.casts import enum_value

        return enum_value(_literal_text(node, 0), self._work.env, node.tok)

    def _enumname(self, node: ast.AtOp) -> ast.Expr:
        from pystap.sema.enumname import enum_name

        return enum_name(self._work, node)

    def _const(self, node: ast.AtOp) -> ast.Expr:
        text = _literal_text(node, 0)
        try:
            return number(int(text, 0), node)
        except ValueError:
            pass
        value = self._work.env.btf().enum_value(text)
        if value is not None:
            return number(value, node)
        return ast.EmbeddedExpr(tok=node.tok, type="long", code=f" ({text}) ")

    def _deref(self, node: ast.AtOp) -> ast.Expr:
        size = fold_expr(node.args[0])
        if not isinstance(size, ast.Number) or size.value not in (1, 2, 4, 8):
            raise _error(f"the size of @{node.name} must be 1, 2, 4 or 8", node.tok)
        if node.name == "kderef":
            self._need_guru(node)
        return CoreLoad(
            tok=node.tok,
            type="long",
            addr=node.args[1],
            space="kernel" if node.name == "kderef" else "user",
            size=size.value,
            signed=False,
        )

    def _register(self, node: ast.AtOp) -> ast.Expr:
        index = fold_expr(node.args[0])
        if not isinstance(index, ast.Number) or not 0 <= index.value < 128:
            raise _error(f"@{node.name} takes a literal DWARF register number", node.tok)
        if self._context is None or not self._context.registers:
            raise _error("cannot access CPU registers in this context", node.tok)
        if node.name == "kregister":
            self._need_guru(node)
        return CoreContext(tok=node.tok, type="long", kind="reg", index=index.value)

    def _need_guru(self, node: ast.AtOp) -> None:
        from pystap.sema.work import is_user

        if is_user(node.tok) and not self._work.env.guru:
            raise _error(f"@{node.name} may only be used in guru mode", node.tok, hint="use -g")

    def _perf(self, node: ast.AtOp) -> ast.Expr:
        name = _literal_text(node, 0)
        if self._context is not None and self._context.in_session:
            raise _error("@perf counts what a task does, but no task is probed here", node.tok)
        self._work.counters_read.setdefault(name, node.tok)
        return CoreIntrinsic(tok=node.tok, type="long", name="perf_counter", const=(name,))

    def _probewrite(self, node: ast.AtOp) -> ast.Expr:
        raise _error("@probewrite can be used in probe aliases only", node.tok)


_STATEMENTS: Final = (
    ast.Block,
    ast.If,
    ast.While,
    ast.For,
    ast.Foreach,
    ast.TryCatch,
    ast.ExprStmt,
    ast.Return,
)


def _literal_text(node: ast.AtOp, index: int) -> str:
    arg = node.args[index] if index < len(node.args) else None
    if not isinstance(arg, ast.String):
        raise _error(f"@{node.name} takes a literal string", node.tok)
    return arg.value


def _error(message: str, tok: Token, hint: str | None = None) -> DiagnosticError:
    return DiagnosticError(Diagnostic("semantic error", message, tok, hint=hint))
