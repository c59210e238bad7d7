"""Command-line parsing: getopt rules, written out so that start-up imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pystap.options import Options


class UsageError(Exception):
    """A command line that cannot be served; ``str()`` is the message."""


class EarlyExit(Exception):  # noqa: N818 - a request, not an error
    """``--help``, ``--version`` and such: what to do instead of running a script."""

    def __init__(self, action: str) -> None:
        super().__init__(action)
        self.action = action


SHORT = "hVvtp:I:e:E:o:R:r:a:m:kgPc:x:D:bs:uqiwl:d:L:FS:B:JjWG:T:"

# Long options: name -> (takes an argument: "" no, "=" required, "?" optional).
LONG = {
    "help": "",
    "version": "",
    "vp": "=",
    "skip-badvars": "",
    "suppress-handler-errors": "",
    "suppress-time-limits": "",
    "compatible": "=",
    "clean-cache": "",
    "disable-cache": "",
    "poison-cache": "",
    "color": "?",
    "colour": "?",
    "sysroot": "=",
    "runtime": "=",
    "bpf": "",
    "no-global-var-display": "",
    "ldd": "",
    "sign-module": "",
    "dump-probe-types": "",
    "dump-probe-aliases": "",
    "dump-functions": "",
}

# Parts of SystemTap's command line that this version does not serve.
UNSUPPORTED_SHORT = set("RaPiqJj")
UNSUPPORTED_LONG = frozenset(
    (
        *("interactive", "prologue-searching", "check-version", "privilege", "unprivileged"),
        *("semantic-keep-going", "use-server", "use-server-on-error", "list-servers"),
        *("trust-servers", "use-http-server", "client-options", "remote"),
        *("remote-prefix", "tmpdir", "download-debuginfo", "modinfo", "all-modules"),
        *("rlimit-as", "rlimit-cpu", "rlimit-nproc", "rlimit-stack", "rlimit-fsize", "sysenv"),
        *("dyninst", "save-uprobes", "target-namespaces", "monitor", "example"),
        *("language-server", "build-as", "debug"),
    )
)


def parse(argv: Sequence[str]) -> Options:
    """Options from the arguments after the program name.

    They may stand behind the script and its arguments, too, unless ``--`` or the variable
    POSIXLY_CORRECT ends them there, as getopt_long(3) has it.  Raises :class:`UsageError` with
    the message to print, :class:`EarlyExit` for requests that need no script.
    """
    options = Options()
    words = list(argv)
    at = 0
    rest: list[str] = []
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            rest += words[at:]
            break
        if word.startswith("--"):
            at = _long(options, word[2:], words, at)
        elif word.startswith("-") and word != "-":
            at = _cluster(options, word[1:], words, at)
        else:
            rest.append(word)
            if "POSIXLY_CORRECT" in os.environ:
                rest += words[at:]
                break
    _positional(options, rest)
    _check(options)
    return options


def _cluster(options: Options, letters: str, words: list[str], at: int) -> int:
    position = 0
    while position < len(letters):
        letter = letters[position]
        position += 1
        index = SHORT.find(letter)
        if letter == ":" or index < 0:
            raise UsageError(f"invalid option -- '{letter}'")
        if SHORT[index + 1 : index + 2] != ":":
            _apply_short(options, letter, "")
            continue
        value = letters[position:]
        if not value:
            if at >= len(words):
                raise UsageError(f"option requires an argument -- '{letter}'")
            value = words[at]
            at += 1
        _apply_short(options, letter, value)
        break
    return at


def _long(options: Options, text: str, words: list[str], at: int) -> int:
    name, equals, value = text.partition("=")
    name = _complete(name)
    takes = LONG[name]
    if takes == "" and equals:
        raise UsageError(f"option '--{name}' doesn't allow an argument")
    if takes == "=" and not equals:
        if at >= len(words):
            raise UsageError(f"option '--{name}' requires an argument")
        value = words[at]
        at += 1
    _apply_long(options, name, value)
    return at


def _complete(name: str) -> str:
    if name in LONG:
        return name
    near = [known for known in LONG if known.startswith(name)]
    if len(near) == 1:
        return near[0]
    if near:
        choices = " ".join(f"'--{n}'" for n in near)
        raise UsageError(f"option '--{name}' is ambiguous; possibilities: {choices}")
    if name in UNSUPPORTED_LONG:
        raise UsageError(f"option --{name} is not supported by this version of pystap")
    raise UsageError(f"unrecognized option '--{name}'")


def _apply_short(options: Options, letter: str, value: str) -> None:
    if letter in UNSUPPORTED_SHORT:
        raise UsageError(f"option -{letter} is not supported by this version of pystap")
    handler = _SHORT_ACTIONS[letter]
    handler(options, value)


def _apply_long(options: Options, name: str, value: str) -> None:
    _LONG_ACTIONS[name](options, value)


# --- actions ------------------------------------------------------------------------------------


def _exit(action: str) -> Callable[[Options, str], None]:
    def act(_options: Options, _value: str) -> None:
        raise EarlyExit(action)

    return act


def _flag(name: str, setting: object = True) -> Callable[[Options, str], None]:
    def act(options: Options, _value: str) -> None:
        setattr(options, name, setting)

    return act


def _verbose(options: Options, _value: str) -> None:
    options.verbose = [level + 1 for level in options.verbose]


def _vp(options: Options, value: str) -> None:
    if not 1 <= len(value) <= 5 or not value.isdigit():
        raise UsageError("Invalid --vp argument: it should be 1 to 5 digits, one a pass.")
    for index, digit in enumerate(value):
        options.verbose[index] += int(digit)


def _last_pass(options: Options, value: str) -> None:
    if value not in ("1", "2", "3", "4", "5"):
        raise UsageError("Invalid pass number (should be 1-5).")
    if options.listing is not None and value != "5":
        raise UsageError("Listing (-l or -L) does not go with -p.")
    options.last_pass = int(value)


def _script(options: Options, value: str) -> None:
    if options.script is not None:
        raise UsageError("Only one script can be given on the command line.")
    options.script = _bytes_text(value)


def _extra(options: Options, value: str) -> None:
    options.extra_scripts.append(_bytes_text(value))


def _listing(variables: bool) -> Callable[[Options, str], None]:
    def act(options: Options, value: str) -> None:
        if options.listing is not None:
            raise UsageError("Only one of -l, -L and the --dump options can be given.")
        options.listing = value
        options.listing_vars = variables
        options.suppress_warnings = True

    return act


def _dump(kind: str) -> Callable[[Options, str], None]:
    def act(options: Options, _value: str) -> None:
        if options.listing is not None:
            raise UsageError("Only one of -l, -L and the --dump options can be given.")
        options.listing = f"--{kind}"

    return act


def _define(options: Options, value: str) -> None:
    name, equals, setting = value.partition("=")
    digits = setting[1:] if setting.startswith("-") else setting
    ok = name and (name[0].isalpha() or name[0] == "_") and _word(name)
    if not ok or (equals and not (digits and _word(digits))):
        raise UsageError(f"Invalid -D argument '{value}': it should be NAME or NAME=VALUE.")
    options.defines[name] = setting if equals else "1"


def _global(options: Options, value: str) -> None:
    name, equals, setting = value.partition("=")
    fine = all(c.isalnum() or c in "_.-" for c in setting)
    if not name or not equals or not setting or not _word(name) or not fine:
        raise UsageError(f"Invalid -G argument '{value}': it should be VAR=VALUE.")
    options.global_inits[name] = setting


def _command(options: Options, value: str) -> None:
    if not value:
        raise UsageError("-c CMD must not be empty.")
    options.cmd = value


def _pid(options: Options, value: str) -> None:
    if not value.isdigit() or int(value) < 1:
        raise UsageError("Invalid target process ID number.")
    options.target_pid = int(value)


def _timeout(options: Options, value: str) -> None:
    from pystap.seconds import read_seconds

    seconds = read_seconds(value)
    if seconds is None:
        raise UsageError(f"Invalid -T argument '{value}': it should be a number of seconds.")
    options.timeout = seconds


def _module(options: Options, value: str) -> None:
    name = value.removesuffix(".ko").removesuffix(".bo")
    if not name or not all(c.islower() or c.isdigit() or c == "_" for c in name):
        raise UsageError(f"Invalid module name '{value}' (should be of [a-z0-9_]).")
    options.module_name = name


def _object(options: Options, value: str) -> None:
    if not value:
        raise UsageError("Missing object for -d: a program, library or kernel module.")
    options.modules.append(value)


def _build_word(options: Options, value: str) -> None:
    if "=" not in value:
        raise UsageError(f"Invalid argument '{value}' for -B (should be NAME=VALUE).")
    options.build_words.append(value)


def _megabytes(options: Options, value: str) -> None:
    if not value.isdigit() or not 1 <= int(value) <= 4095:
        raise UsageError(f"Invalid argument '{value}' for -s (1 to 4095 megabytes).")
    options.buffer_megabytes = int(value)


def _rotation(options: Options, value: str) -> None:
    size, comma, count = value.partition(",")
    numbers = [size, count] if comma else [size]
    if not all(n.isascii() and n.isdigit() and int(n) > 0 for n in numbers):
        raise UsageError(f"Invalid argument '{value}' for -S (SIZE[,N]: megabytes, files).")
    options.rotation = value


def _color(options: Options, value: str) -> None:
    if value not in ("", "never", "always", "auto"):
        raise UsageError(f"Invalid argument '{value}' for --color.")
    options.color = value or "always"


def _runtime(options: Options, value: str) -> None:
    if value not in ("bpf", "reference", "kernel", "dyninst"):
        raise UsageError(f"Invalid argument '{value}' for --runtime (bpf or kernel).")
    if value == "kernel":
        options.runtime = value
        return
    if value == "dyninst":
        raise UsageError("pystap has no dyninst runtime; use --runtime=bpf.")
    options.runtime = value


def _compatible(options: Options, value: str) -> None:
    from pystap.lang.conditions import version_compare
    from pystap.lang.environment import LANGUAGE_VERSION

    if version_compare(value, LANGUAGE_VERSION) > 0:
        ours = f"systemtap version {LANGUAGE_VERSION}"
        raise UsageError(f"{ours} cannot be compatible with future version {value}")
    options.compatible = value


def _time_limits(options: Options, _value: str) -> None:
    if not options.guru:
        raise UsageError("--suppress-time-limits needs guru mode: give -g before it.")
    options.suppress_time_limits = True


def _set(name: str) -> Callable[[Options, str], None]:
    def act(options: Options, value: str) -> None:
        setattr(options, name, value)

    return act


def _append_dir(options: Options, value: str) -> None:
    options.tapset_dirs.append(value)


def _word(text: str) -> bool:
    return all(c.isalnum() or c == "_" for c in text)


def _bytes_text(value: str) -> str:
    # argv is decoded by the interpreter; scripts are bytes, one character each.
    import os

    return os.fsencode(value).decode("latin-1")


_SHORT_ACTIONS: dict[str, Callable[[Options, str], None]] = {
    "h": _exit("help"),
    "V": _exit("version"),
    "v": _verbose,
    "p": _last_pass,
    "e": _script,
    "E": _extra,
    "I": _append_dir,
    "o": _set("output"),
    "g": _flag("guru"),
    "u": _flag("unoptimized"),
    "t": _flag("timing"),
    "w": _flag("suppress_warnings"),
    "W": _flag("warnings_are_errors"),
    "c": _command,
    "x": _pid,
    "D": _define,
    "G": _global,
    "T": _timeout,
    "r": _set("release"),
    "k": _flag("keep_build"),
    "B": _build_word,
    "s": _megabytes,
    "b": _flag("bulk"),
    "F": _flag("flight_recorder"),
    "S": _rotation,
    "m": _module,
    "d": _object,
    "l": _listing(False),
    "L": _listing(True),
}

_LONG_ACTIONS: dict[str, Callable[[Options, str], None]] = {
    "help": _exit("help"),
    "version": _exit("version"),
    "clean-cache": _exit("clean-cache"),
    "vp": _vp,
    "skip-badvars": _flag("skip_badvars"),
    "suppress-handler-errors": _flag("suppress_handler_errors"),
    "suppress-time-limits": _time_limits,
    "compatible": _compatible,
    "disable-cache": _flag("disable_cache"),
    "poison-cache": _flag("poison_cache"),
    "color": _color,
    "colour": _color,
    "sysroot": _set("sysroot"),
    "runtime": _runtime,
    "bpf": _set("runtime"),
    "ldd": _flag("libraries"),
    "sign-module": _flag("sign_module"),
    "no-global-var-display": _flag("global_var_display", False),
    "dump-probe-types": _dump("dump-probe-types"),
    "dump-probe-aliases": _dump("dump-probe-aliases"),
    "dump-functions": _dump("dump-functions"),
}
_LONG_ACTIONS["bpf"] = _flag("runtime", "bpf")


def _positional(options: Options, rest: list[str]) -> None:
    listing_only = options.listing is not None
    if options.script is None and rest and not listing_only:
        options.script_file = rest[0]
        rest = rest[1:]
    options.args = [_bytes_text(word) for word in rest]


def _check(options: Options) -> None:
    _choose_runtime(options)
    if options.cmd is not None and options.target_pid is not None:
        raise UsageError("You can't specify both -c CMD and -x PID.")
    dump = options.listing is not None
    if dump and options.last_pass != 5:
        raise UsageError("Listing (-l or -L) does not go with -p.")
    if dump and (options.script is not None or options.script_file is not None):
        raise UsageError("Listing takes no script: use -E SCRIPT to add one.")
    if not dump and options.script is None and options.script_file is None:
        if options.extra_scripts:
            options.script = options.extra_scripts.pop(0)
            return
        raise UsageError("A script must be specified.")


def _choose_runtime(options: Options) -> None:
    """Modes of output that only one runtime has."""
    if options.flight_recorder and options.output is None:
        for letter, value in (("-c", options.cmd), ("-T", options.timeout)):
            if value is not None:
                raise UsageError(f"-F does not go with {letter}, unless -o FILE is given.")
    modes = {"-b": options.bulk, "-F": options.flight_recorder, "-S": options.rotation}
    wanted = [letter for letter, given in modes.items() if given]
    if not wanted or options.runtime == "kernel":
        return
    if options.runtime:
        raise UsageError(f"{wanted[0]} needs the kernel runtime: --runtime=kernel.")
    if options.rotation and options.output is None:
        raise UsageError("-S needs an output file: -o FILE.")
    options.runtime = "kernel"
