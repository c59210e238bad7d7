"""``netfilter.hook(...).pf(...)``: packets on their way through the kernel, watched only.

Names and numbers are those of ``<linux/netfilter.h>`` and its kin for each protocol family.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes import attach
from pystap.probes.attach import NetfilterHook
from pystap.probes.base import Context, Match, ProbeEnv, unknown_variable
from pystap.probes.core import CoreContext, CoreIntrinsic
from pystap.probes.shapes import ShapeMatch, bad_point, match_shapes
from pystap.probes.target import Place, error, expand, number
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf

_SHAPES: Final = tuple(
    f"netfilter.{pair}{priority}"
    for pair in ("hook(string).pf(string)", "pf(string).hook(string)")
    for priority in ("", ".priority(string)", ".priority(number)")
)
_FAMILIES: Final = {
    "NFPROTO_IPV4": 2, "NFPROTO_ARP": 3, "NFPROTO_BRIDGE": 7, "NFPROTO_IPV6": 10,
}  # fmt: skip
_PATH: Final = ("PRE_ROUTING", "LOCAL_IN", "FORWARD", "LOCAL_OUT", "POST_ROUTING")
# The hooks of each family by name; the number is the place in the list.
_HOOKS: Final[dict[str, dict[str, int]]] = {
    "NFPROTO_IPV4": {
        f"{head}_{name}": n for head in ("NF_INET", "NF_IP") for n, name in enumerate(_PATH)
    },
    "NFPROTO_IPV6": {
        f"{head}_{name}": n for head in ("NF_INET", "NF_IP6") for n, name in enumerate(_PATH)
    },
    "NFPROTO_ARP": {"NF_ARP_IN": 0, "NF_ARP_OUT": 1, "NF_ARP_FORWARD": 2},
    "NFPROTO_BRIDGE": {f"NF_BR_{name}": n for n, name in enumerate((*_PATH, "BROUTING"))},
}
_PRIORITIES: Final[dict[str, int]] = {
    f"{head}_{name}": value
    for head in ("NF_IP_PRI", "NF_IP6_PRI")
    for name, value in {
        "FIRST": -(1 << 31), "RAW_BEFORE_DEFRAG": -450, "CONNTRACK_DEFRAG": -400, "RAW": -300,
        "SELINUX_FIRST": -225, "CONNTRACK": -200, "MANGLE": -150, "NAT_DST": -100, "FILTER": 0,
        "SECURITY": 50, "NAT_SRC": 100, "SELINUX_LAST": 225, "CONNTRACK_HELPER": 300,
        "CONNTRACK_CONFIRM": (1 << 31) - 1, "LAST": (1 << 31) - 1,
    }.items()
}  # fmt: skip
_ACCEPT: Final = 1
_FEW: Final = 6  # names shown where none is like the one given
_NAMES: Final = ("$hooknum", "$skb", "$in", "$out", "$verdict")


class _Function(NamedTuple):
    """A function that packets go through near a hook, and the index of its ``struct sk_buff*``."""

    name: str
    skb: int


# Where the kernel takes no programs at hooks themselves.
_FUNCTIONS: Final[dict[tuple[str, int], tuple[_Function, ...]]] = {
    ("NFPROTO_IPV4", 0): (_Function("ip_rcv_core", 0),),
    ("NFPROTO_IPV4", 1): (_Function("ip_local_deliver", 0),),
    ("NFPROTO_IPV4", 2): (_Function("ip_forward", 0),),
    ("NFPROTO_IPV4", 3): (_Function("__ip_local_out", 2),),
    ("NFPROTO_IPV4", 4): (_Function("ip_output", 2), _Function("ip_mc_output", 2)),
    ("NFPROTO_IPV6", 0): (_Function("ip6_rcv_core", 0),),
    ("NFPROTO_IPV6", 1): (_Function("ip6_input", 0),),
    ("NFPROTO_IPV6", 2): (_Function("ip6_forward", 0),),
    ("NFPROTO_IPV6", 3): (_Function("__ip6_local_out", 2),),
    ("NFPROTO_IPV6", 4): (_Function("ip6_output", 2),),
    ("NFPROTO_ARP", 0): (_Function("arp_rcv", 0),),
    ("NFPROTO_ARP", 1): (_Function("arp_xmit", 0),),
}
_OUTGOING: Final = {"NFPROTO_IPV4": (3, 4), "NFPROTO_IPV6": (3, 4), "NFPROTO_ARP": (1,)}


class Packets:
    """Probe points on packets."""

    roots = ("netfilter",)

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
        """One match for each shape, or for each function that stands for the hook."""
        matches = []
        for found in match_shapes(point, _SHAPES):
            matches += _matches(found, point, env)
        return matches

    def patterns(self) -> Iterable[str]:
        """The shapes themselves."""
        return _SHAPES


def _matches(found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    args = found.by_name()
    family = str(args["pf"])
    toks = {component.name: component.tok for component in point.components}
    here = toks.get("hook", point.tok)
    _one_of(family, _FAMILIES, "protocol family", toks.get("pf", point.tok))
    name = str(args["hook"])
    _one_of(name, _HOOKS[family], f"hook of {family}", here)
    hook = _HOOKS[family][name]
    priority = _priority(args.get("priority"), toks.get("priority", point.tok))
    where = NetfilterHook(_FAMILIES[family], hook, priority)
    if env.runtime == "kernel":
        return [Match([(found.text(), where)], ModuleContext(env.btf(), env.guru))]
    has = env.has_feature or (lambda _: True)
    if family != "NFPROTO_ARP" and _has_hooks(env.btf()) and has("netfilter"):
        if family == "NFPROTO_BRIDGE":
            raise _no_programs(family, here)
        return [Match([(found.text(), where)], HookContext(env.btf(), env.guru))]
    functions = _FUNCTIONS.get((family, hook))
    if functions is None or not has("kprobe"):
        raise _no_programs(family, here)
    outgoing = hook in _OUTGOING[family]
    return [
        Match(
            [(found.text(), attach.KernelFunction(function.name))],
            FunctionContext(env.btf(), env.guru, function, hook, outgoing),
            [f"at function {function.name}: the kernel takes no programs at this hook itself"],
        )
        for function in functions
    ]


def _has_hooks(btf: Btf) -> bool:
    """Whether the kernel may know programs at hooks: what it would pass to them."""
    from pystap.debuginfo.btf import KIND_STRUCT

    return btf.find("bpf_nf_ctx", KIND_STRUCT) is not None


def _no_programs(family: str, tok: Token) -> Exception:
    return bad_point(
        f"this kernel takes no BPF programs at hooks of {family}",
        tok,
        hint="others of its functions can be probed: kernel.function, module(..).function",
    )


def _one_of(name: str, known: Iterable[str], what: str, tok: Token) -> None:
    from pystap.diag.suggest import suggest

    names = list(known)
    if name not in names:
        near = suggest(name, names) or names[:_FEW]
        raise bad_point(f"no {what} '{name}' (similar: {', '.join(near)})", tok)


def _priority(value: int | str | None, tok: Token) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        try:
            value = int(value, 0)
        except ValueError:
            _one_of(str(value), _PRIORITIES, "priority", tok)
            return _PRIORITIES[str(value)]
    if not -(1 << 31) <= value < 1 << 31:
        raise bad_point(f"priority {value} is out of range", tok)
    return value


class _PacketContext(Context):
    """``$hooknum $skb $in $out $verdict`` of a packet."""

    registers = False

    def __init__(self, btf: Btf, guru: bool, kind: str) -> None:
        self._btf = btf
        self._guru = guru
        self.share_key = ("netfilter", kind)

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """One of the variables with its components."""
        tok = var.tok
        if var.name not in _NAMES:
            raise unknown_variable(var, _NAMES)
        if var.name == "$verdict":
            return number(_ACCEPT, tok)
        return self._value(var.name[1:], var)

    def assign(
        self, var: ast.TargetVar, op: str, value: Callable[[], ast.Expr]
    ) -> ast.Expr | None:
        """What ``$verdict = number`` does, which takes guru mode and the kernel runtime."""
        if var.name != "$verdict" or var.components:
            return None
        if not self._guru:
            raise error("$verdict can be changed in guru mode (-g) only", var.tok)
        if op != "=":
            raise error(f"$verdict can be set by = only, not by {op}", var.tok)
        return CoreIntrinsic(tok=var.tok, type="long", name="set_verdict", args=[value()])

    @abstractmethod
    def _value(self, name: str, var: ast.TargetVar) -> ast.Expr:
        """A variable by its name without ``$``, with its components."""

    def variables(self) -> list[tuple[str, str]]:
        """Each variable with its C type."""
        types = ("unsigned int", "struct sk_buff*", *("struct net_device*",) * 2, "int")
        return list(zip(_NAMES, types))

    def _member(self, place: Place, names: Iterable[str], var: ast.TargetVar) -> ast.Expr:
        """A member of an object, with what the script applies to it."""
        path = [ast.Member(tok=var.tok, name=name) for name in names]
        return expand(place, [*path, *var.components], var.tok, var.address_of)

    def _pointer(self, name: str, address: ast.Expr, tok: Token) -> Place:
        from pystap.debuginfo.btf import KIND_STRUCT

        type_id = self._btf.find(name, KIND_STRUCT)
        if type_id is None:
            raise error(f"the kernel's BTF has no structure '{name}'", tok)
        return Place(address, self._btf, type_id, "kernel", False, pointers=1)


class HookContext(_PacketContext):
    """At a hook itself: the kernel passes its state and the packet."""

    def __init__(self, btf: Btf, guru: bool) -> None:
        super().__init__(btf, guru, "hook")

    def _value(self, name: str, var: ast.TargetVar) -> ast.Expr:
        context = CoreContext(tok=var.tok, type="long", kind="funcarg", index=0)
        place = self._pointer("bpf_nf_ctx", context, var.tok)
        members = {"hooknum": "hook", "in": "in", "out": "out"}
        path = ["skb"] if name == "skb" else ["state", members[name]]
        return self._member(place, path, var)


class ModuleContext(_PacketContext):
    """At a hook of a module: the state and the packet are its arguments."""

    def __init__(self, btf: Btf, guru: bool) -> None:
        super().__init__(btf, guru, "module")

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """``$verdict`` is what handlers set so far, too."""
        if var.name == "$verdict" and not var.components:
            return CoreIntrinsic(tok=var.tok, type="long", name="verdict")
        return super().resolve(var)

    def _value(self, name: str, var: ast.TargetVar) -> ast.Expr:
        def argument(index: int) -> ast.Expr:
            return CoreContext(tok=var.tok, type="long", kind="arg", index=index)

        if name == "skb":
            place = self._pointer("sk_buff", argument(1), var.tok)
            return expand(place, var.components, var.tok, var.address_of)
        members = {"hooknum": "hook", "in": "in", "out": "out"}
        place = self._pointer("nf_hook_state", argument(0), var.tok)
        return self._member(place, [members[name]], var)


class FunctionContext(_PacketContext):
    """At a function near a hook: the packet is an argument, and knows its devices."""

    def __init__(
        self, btf: Btf, guru: bool, function: _Function, hook: int, outgoing: bool
    ) -> None:
        super().__init__(btf, guru, f"{function.skb} {hook} {outgoing}")
        self._function = function
        self._hook = hook
        self._outgoing = outgoing

    def _value(self, name: str, var: ast.TargetVar) -> ast.Expr:
        tok = var.tok
        if name == "hooknum":
            return number(self._hook, tok)
        packet = CoreContext(tok=tok, type="long", kind="funcarg", index=self._function.skb)
        place = self._pointer("sk_buff", packet, tok)
        if name == "skb":
            return expand(place, var.components, tok, var.address_of)
        if (name == "out") != self._outgoing:
            return number(0, tok)  # a packet that comes in has no way out yet, and vice versa
        if self._outgoing and self._function.name != "arp_xmit":
            return self._way_out(place, var)
        return self._member(place, ["dev"], var)

    def _way_out(self, place: Place, var: ast.TargetVar) -> ast.Expr:
        """The device of the packet's destination; the lowest bit of the pointer is a flag."""
        from pystap.probes.target import binary

        tok = var.tok
        whole = expand(place, [ast.Member(tok=tok, name="_skb_refdst")], tok, False)
        entry = self._pointer("dst_entry", binary("&", whole, number(-2, tok), tok), tok)
        return self._member(entry, ["dev"], var)


FAMILY: Final = Packets()
