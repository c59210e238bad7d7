"""Files of caches: each is complete or not there."""

from __future__ import annotations

import os


def write_whole(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Put the parts into a file for its owner alone, in a directory that is made if need be.

    Until all is written a file of that name remains as it was.  Raises OSError, and leaves
    nothing behind then.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.writelines(parts)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
