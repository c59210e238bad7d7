"""Requests that need no script: ``--help``, ``--version``, ``--clean-cache``."""

from __future__ import annotations

import sys

from pystap import __version__

HELP = """\
Usage: stap [options] FILE [args]         Run script in FILE.
   or: stap [options] -                   Run script on standard input.
   or: stap [options] -e SCRIPT [args]    Run the given script.
   or: stap -l PROBE | -L PROBE           List matching probe points (-L: with variables).
   or: stap --dump-probe-types | --dump-probe-aliases | --dump-functions

Options:
  --               end of options; what follows are script arguments
  -h, --help       this text               -V, --version    version and features
  -v               more verbose, all passes
  --vp DIGITS      verbosity of each pass, e.g. --vp 00001
  -p NUM           stop after pass NUM: 1 parse, 2 analyse, 3 translate, 4 compile, 5 run
  -e SCRIPT        the script             -E SCRIPT        an additional script
  -I DIR           look in DIR for more tapset files
  -D NAME[=VALUE]  set a limit such as MAXACTION (see the manual page)
  -G VAR=VALUE     initial value of a global variable
  -o FILE          write output to FILE (strftime conversions are expanded)
  -c CMD           start CMD when probes are in place, end when it ends; target() is its pid
  -x PID           set target() to PID, end when it ends
  -d OBJECT        a program or library for user-space stacks and symbols (may be repeated)
  --ldd            the same for the libraries these are linked with
  -T SECONDS       end after that time    -t               report hits and times of probes
  -g               guru mode
  -u               do not optimise         -m NAME          name of the program file of -p4
  -w               hide warnings           -W               warnings are errors
  --runtime=NAME   bpf (default), kernel (a kernel module) or reference
  -F               without -o: load a module, leave it running, take it over by staprun -A;
                   with -o: run in the background and print the pid
  -S SIZE[,N]      with -o: files of SIZE megabytes, FILE.0, FILE.1 ..., the last N are kept
  -b               a file for each CPU (stpd_cpuN, or FILE_N), to be merged by stap-merge
  -s MB            megabytes for the output of each CPU
  -r RELEASE|DIR   build the module for another kernel, or for the one built in DIR
  -B NAME=VALUE    a further word for the make that builds the module
  -k               keep the directory in which the module was built
  --skip-badvars   context variables that cannot be resolved read as 0
  --suppress-handler-errors    keep going after run-time errors
  --suppress-time-limits       no MAXACTION, lock and overload limits (needs -g)
  --no-global-var-display      do not print unread globals at the end
  --compatible VERSION         behave as that version of the language
  --disable-cache  translate anew and keep nothing
  --poison-cache   translate anew and keep the result
  --clean-cache    empty the cache, then exit
  --color[=never|always|auto]
"""


def serve(action: str) -> int:
    """Serve one request; the exit status."""
    if action == "help":
        sys.stdout.write(HELP)
    elif action == "version":
        sys.stdout.write(_version())
    elif action == "clean-cache":
        from pystap.session import cache

        cache.clean()
    return 0


def _version() -> str:
    import importlib.util
    import os

    llvm = "LLVM" if importlib.util.find_spec("llvmlite") else "no LLVM (cached programs only)"
    btf = "BTF" if os.path.exists("/sys/kernel/btf/vmlinux") else "no BTF"
    return (
        f"pystap {__version__}, an independent implementation of the SystemTap language\n"
        f"runtimes: bpf reference; features: {llvm}, {btf}\n"
        "Apache-2.0 OR GPL-2.0-or-later\n"
    )
