"""``-l``, ``-L`` and the ``--dump`` options."""

from __future__ import annotations

import sys

from pystap.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.cli.passes import Front


def list_points(options: Options) -> int:
    """Print what was asked for; 0 if there was anything."""
    from pystap.cli.passes import Front, missing_btf
    from pystap.debuginfo.btffile import BtfMissing

    front = Front(options)
    lines: list[str] = []
    try:
        lines = _lines(front, options.listing or "")
    except BtfMissing as error:
        front.diags.add(missing_btf(error))
    front.print_diagnostics(options.verbose[1])
    text = "".join(line + "\n" for line in lines)
    sys.stdout.buffer.write(text.encode("latin-1", "replace"))
    sys.stdout.buffer.flush()
    return 0 if lines else 1


def _lines(front: Front, what: str) -> list[str]:
    from pystap.lang.source import Source
    from pystap.sema import listing

    options, verbose = front.options, bool(front.options.verbose[1])
    if what == "--dump-probe-types":
        return listing.probe_types()
    if what == "--dump-probe-aliases":
        return listing.probe_aliases(front.tapset, verbose)
    if what == "--dump-functions":
        return listing.functions(front.tapset, front.probe_env, options, front.diags, verbose)
    files = [
        front.parse(Source(f"<input{number}>", extra))
        for number, extra in enumerate(options.extra_scripts, 1)
    ]
    if front.diags.errors:
        return []
    lines = listing.list_points(
        what, files, front.tapset, front.environment, front.probe_env, options, front.diags
    )
    if front.probe_env.debug is not None:
        front.probe_env.debug.save()
    return lines
