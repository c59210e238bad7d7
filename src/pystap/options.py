"""Everything the command line decides, as one plain object (no heavy imports: warm start path)."""

from __future__ import annotations


class Options:
    """Session options with their defaults; names follow the long option or its meaning."""

    __slots__ = (
        "args", "buffer_megabytes", "build_words", "bulk", "cmd", "color", "compatible",
        "defines", "disable_cache", "extra_scripts", "flight_recorder", "global_inits",
        "global_var_display", "guru", "keep_build", "last_pass", "libraries", "listing",
        "listing_vars", "module_name", "modules", "output", "poison_cache", "release",
        "rotation", "runtime", "script", "script_file", "sign_module", "skip_badvars",
        "suppress_handler_errors", "suppress_time_limits", "suppress_warnings", "sysroot",
        "tapset_dirs", "target_pid", "timeout", "timing", "unoptimized", "verbose",
        "warnings_are_errors",
    )  # fmt: skip

    def __init__(self) -> None:
        self.script: str | None = None  # text of -e or stdin
        self.script_file: str | None = None
        self.extra_scripts: list[str] = []  # -E
        self.args: list[str] = []
        self.last_pass = 5
        self.verbose = [0, 0, 0, 0, 0]
        self.runtime = ""  # "" = choose: bpf
        self.guru = False
        self.unoptimized = False
        self.suppress_warnings = False
        self.warnings_are_errors = False
        self.tapset_dirs: list[str] = []  # -I
        self.defines: dict[str, str] = {}  # -D
        self.global_inits: dict[str, str] = {}  # -G
        self.module_name: str | None = None  # -m
        self.modules: list[str] = []  # -d: objects whose symbols and unwind data are wanted
        self.libraries = False  # --ldd: those of the libraries they are linked with, too
        self.output: str | None = None  # -o
        self.cmd: str | None = None  # -c
        self.target_pid: int | None = None  # -x
        self.timeout: float | None = None  # -T, seconds
        self.timing = False  # -t
        self.listing: str | None = None  # -l or -L
        self.listing_vars = False
        self.skip_badvars = False
        self.suppress_handler_errors = False
        self.suppress_time_limits = False
        self.global_var_display = True
        self.compatible: str | None = None
        self.color = "auto"
        self.disable_cache = False
        self.poison_cache = False
        self.sysroot = ""
        self.release = ""  # -r: of the kernel, or its build directory
        self.build_words: list[str] = []  # -B, for the kernel's build
        self.keep_build = False  # -k
        self.sign_module = False  # --sign-module
        self.buffer_megabytes: int | None = None  # -s
        self.bulk = False  # -b
        self.flight_recorder = False  # -F
        self.rotation: str | None = None  # -S SIZE[,N]

    def object_files(self) -> list[str]:
        """Those of ``modules`` that are files; a plain name of none is that of a kernel module."""
        import os

        return [name for name in self.modules if "/" in name or os.path.exists(name)]
