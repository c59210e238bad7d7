"""Modules that run without a staprun: attach to one, remove them."""

from __future__ import annotations

import errno

from pystap.staprun.control import Control, loaded_modules
from pystap.staprun.loading import LoadError, unload
from pystap.staprun.session import Session, complain
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.staprun.daemon import Background
    from pystap.staprun.request import Request

_ALL: Final = "*"


def attach(request: Request, background: Background | None = None) -> int:
    """Attach to a detached module and follow it to its end; the exit status."""
    name = _name(request.module)
    try:
        return Session(request, name, background=background).attach()
    except FileNotFoundError as error:
        raise _not_loaded(name) from error
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise LoadError(f"module '{name}' is in use: {_owner(name)} is attached to it") from error


def delete(word: str) -> int:
    """Remove a module to which nobody is attached, or all of them (``*``); the exit status."""
    if word != _ALL:
        _delete(_name(word))
        return 0
    for name in loaded_modules():
        if not _owner(name):
            _delete(name)
            complain(f"Removed module '{name}'.".encode())
    return 0


def _delete(name: str) -> None:
    owner = _owner(name)
    if owner:
        raise LoadError(f"module '{name}' is in use: {owner} is attached to it")
    unload(name)


def _owner(name: str) -> str:
    """The process attached to a module."""
    try:
        control = Control(name)
    except FileNotFoundError as error:
        raise _not_loaded(name) from error
    try:
        pid = control.status().attached
    finally:
        control.close()
    return f"process {pid}" if pid else ""


def _name(word: str) -> str:
    return word.rpartition("/")[2].removesuffix(".ko").replace("-", "_")


def _not_loaded(name: str) -> LoadError:
    others = ", ".join(loaded_modules())
    hint = f"; there are: {others}" if others else ""
    return LoadError(f"no module '{name}' made by stap is loaded{hint}")
