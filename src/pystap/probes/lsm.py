"""``kernel.lsm("HOOK")``: what the kernel asks its security modules, watched by one more.

The kernel's functions ``bpf_lsm_HOOK`` have the hooks' parameters; programs are put on them.
In guru mode a handler may answer, too: ``$return = -13`` refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from fnmatch import fnmatchcase

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import LsmHook
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.core import CoreContext, CoreIntrinsic
from pystap.probes.shapes import bad_point, component_tok, has_wildcard, point_text
from pystap.probes.target import error
from pystap.probes.tracepoints import TracepointContext
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf
    from pystap.debuginfo.btftypes import Param

PREFIX: Final = "bpf_lsm_"
_NULLABLE: Final = "__nullable"  # how the kernel marks parameters that may be NULL
# Hooks that answer yes or no, not with an error number (security/security.c).
_YES_OR_NO: Final = ("audit_rule_known", "inode_xattr_skipcap")


class Hook:
    """A hook: its name and parameters, as tracepoints have them."""

    def __init__(self, btf: Btf, name: str) -> None:
        self.btf = btf
        self.name = name

    def params(self) -> list[Param]:
        """The parameters, in order."""
        from pystap.debuginfo.btftypes import Param

        proto = self.btf.func(PREFIX + self.name)
        return [
            Param(p.name.removesuffix(_NULLABLE), p.type, p.name.endswith(_NULLABLE))
            for p in (proto.params if proto else ())
        ]

    def answers(self) -> bool:
        """Whether the kernel goes by the hook's result, 0 or an error number."""
        proto = self.btf.func(PREFIX + self.name)
        return proto is not None and proto.result != 0 and self.name not in _YES_OR_NO


def hook_matches(pattern: str, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    """One match for each hook a pattern fits; raises where the kernel does not ask programs."""
    tok = component_tok(point, 1)
    btf = env.btf()
    names = [pattern] if _is_hook(btf, pattern) else []
    if has_wildcard(pattern):
        names = [name for name in _hooks(btf) if fnmatchcase(name, pattern)]
    if not names:
        if has_wildcard(pattern):
            return []
        raise _no_hook(pattern, btf, tok)
    _check_active(env, tok)
    return [_match(Hook(btf, name), env.guru) for name in names]


def _match(hook: Hook, guru: bool) -> Match:
    text = point_text(("kernel", "lsm"), (None, hook.name))
    return Match([(text, LsmHook(hook.name))], HookContext(hook, guru))


def _is_hook(btf: Btf, name: str) -> bool:
    return btf.func(PREFIX + name) is not None


def _hooks(btf: Btf) -> list[str]:
    from pystap.debuginfo.btf import KIND_FUNC

    return sorted(n.removeprefix(PREFIX) for n, _ in btf.names(KIND_FUNC) if n.startswith(PREFIX))


def _no_hook(name: str, btf: Btf, tok: Token) -> Exception:
    from pystap.diag.suggest import suggest

    known = _hooks(btf)
    if not known:
        return bad_point("this kernel was built without CONFIG_BPF_LSM", tok)
    near = suggest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else "stap -l 'kernel.lsm(\"*\")'"
    return bad_point(f"no security hook '{name}'", tok, hint=hint)


def _check_active(env: ProbeEnv, tok: Token) -> None:
    """Raise unless the kernel asks programs and lets this one be put there."""
    from pystap.kernel.security import security_modules

    active = security_modules()
    if active is not None and "bpf" not in active:
        names = ",".join([name for name in active if name != "capability"] + ["bpf"])
        raise bad_point(
            "security hooks do not ask BPF programs: 'bpf' is not among the active modules",
            tok,
            hint=f"boot the kernel with lsm={names}",
        )
    if env.has_feature is not None and not env.has_feature("fexit"):
        raise bad_point("this kernel has no trampolines to put programs on security hooks", tok)


class HookContext(TracepointContext):
    """The parameters of a hook by name, and ``$ctx``, the address of all of them as words."""

    def __init__(self, hook: Hook, guru: bool) -> None:
        super().__init__(hook, "lsm", False)
        self._guru = guru
        self.share_key = ("lsm", hook.name)
        self._hook = hook

    def key_for(self, used: Collection[str]) -> object:
        """Alike when the parameters used are the same ones; the hook itself tells the rest."""
        return ("lsm", super().key_for(used), "$return" in used and self._hook.answers())

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """A parameter, or ``$ctx``."""
        if var.name == "$ctx" and not var.components:
            return CoreContext(tok=var.tok, type="long", kind="arg", index=-1)
        return super().resolve(var)

    def assign(
        self, var: ast.TargetVar, op: str, value: Callable[[], ast.Expr]
    ) -> ast.Expr | None:
        """What ``$return = number`` does in guru mode."""
        if var.name != "$return" or var.components or var.address_of:
            return None
        if not self._guru:
            raise error("$return can be set in guru mode (-g) only", var.tok)
        if op != "=":
            raise error(f"$return can be set by = only, not by {op}", var.tok)
        if not self._hook.answers():
            raise error(f"the kernel asks no permission at hook '{self._hook.name}'", var.tok)
        return CoreIntrinsic(tok=var.tok, type="long", name="set_hook_result", args=[value()])
