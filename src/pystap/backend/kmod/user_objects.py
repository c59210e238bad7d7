"""Of which programs a script wants tables, to unwind user-space stacks and name addresses by."""

from __future__ import annotations

from pystap.backend.kmod.writer import quoted
from pystap.ir import ops
from pystap.ir.walk import owners, walk_body
from pystap.probes.attach import files_of
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.kmod.unit import Unit
    from pystap.ir.module import Module

HEADER: Final = "kernel_user_stack.h"
_STACKS: Final = ("user_frames", "user_frames_from")
_PLACES: Final = ("user_inlined", "file", "inlined_file")


def wants_objects(module: Module) -> bool:
    """Whether a script asks for user-space stacks or names of user-space addresses."""
    return bool(_words(module))


def declare(unit: Unit) -> list[str]:
    """Lines for file scope; none for other scripts."""
    module, name = unit.module, unit.prefix
    words = _words(module)
    if not words:
        return []
    probed = sorted(set[str]().union(*(files_of(p.attach) for p in module.probes)))
    flags = (
        ("stacks", any(word in words for word in _STACKS)),
        ("places", any(word in words for word in _PLACES)),
        ("libraries", module.object_libraries),
    )
    return [
        _list(f"{name}probed_objects", probed), _list(f"{name}named_objects", module.objects),
        f"static const struct stap_wanted_objects {name}wanted_objects = {{",
        *[f"\t.{flag} = {'true' if value else 'false'}," for flag, value in flags],
        f"\t.probed = {name}probed_objects,", f"\t.named = {name}named_objects,",
        "\t.create = stap_objects_create,", "\t.destroy = stap_objects_destroy,", "};",
    ]  # fmt: skip


def members(unit: Unit) -> list[str]:
    """What the script's structure says of it."""
    used = wants_objects(unit.module)
    return [f"\t.objects = &{unit.prefix}wanted_objects,"] if used else []


def _words(module: Module) -> set[str]:
    """Names of the intrinsics about user-space addresses, and of what they ask for."""
    found: set[str] = set()
    for owner in owners(module):
        for node in walk_body(owner.body):
            if isinstance(node, ops.Intrinsic) and node.name in _ABOUT_ADDRESSES:
                found.update((node.name, *map(str, node.const)))
    return found


_ABOUT_ADDRESSES: Final = (
    *_STACKS, "user_frame", "user_place", "user_number", "user_text", "user_inlined",
)  # fmt: skip


def _list(name: str, texts: list[str]) -> str:
    words = ", ".join([*map(quoted, texts), "NULL"])
    return f"static const char *const {name}[] = {{ {words} }};"
