"""What ``-p4`` leaves: the translated program in a file."""

from __future__ import annotations

import os
import sys

from pystap.cli.report import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.options import Options
    from pystap.session.cache import Entry


def print_product(options: Options, entry: Entry) -> int:
    """Write the program to ``NAME.bo`` here (``-m``) or to the cache, and print its path."""
    import pickle

    data = pickle.dumps(entry, protocol=5)
    if options.module_name:
        path = f"{options.module_name}.bo"
    else:
        from _blake2 import blake2b

        from pystap.session import cache

        name = blake2b(data, digest_size=16).hexdigest()
        path = os.path.join(cache.directory(), f"stap_{name}.bo")
        os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        complain(f"ERROR: cannot write '{path}': {error.strerror}")
        return 1
    sys.stdout.write(path + "\n")
    return 0
