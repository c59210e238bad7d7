"""LLVM's C entry points in llvmlite's shared library, called directly through ctypes.

Importing ``llvmlite.binding`` costs 64-81 ms, loading its shared object alone about 9 ms, so the
object is found by path and only the few entry points used here are declared.

**LLVM ends the process on internal errors** (``report_fatal_error``): nothing in Python can catch
that.  Text that does not parse or verify is reported as :class:`LlvmError`; what passes the
verifier and still kills the process must never be handed over.  For ``bpfel`` that is:

* inline assembly (the library has no BPF assembler parser),
* ``sdiv`` and ``srem`` (cpu v3 has no signed division), ``fence``, atomics of 8 or 16 bits,
* ``i128`` arithmetic and the ``*.with.overflow`` multiplications (they become library calls),
* ``memcpy``/``memset`` of unknown or large size, and loops LLVM may turn into one of them,
* more than five arguments or an aggregate result in a function that is not inlined,
* a branch over more than 32,767 instructions,
* floating point, variable-sized ``alloca``, ``blockaddress``, exceptions, thread-local data.

More stack than BPF has is no such error here (:data:`_OPTIONS`): callers look at the result.
:mod:`pystap.backend.llvm.builder` refuses these where it can see them and marks every function so
that LLVM makes neither library calls nor jump tables of its own.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import sys

from pystap.typing import Any, Final

BPF_TRIPLE: Final = "bpfel"
X86_TRIPLE: Final = "x86_64-unknown-linux-gnu"

_PTR = ctypes.c_void_p
_STR = ctypes.c_char_p
_INT = ctypes.c_int
_OUT = ctypes.POINTER(ctypes.c_void_p)

# What is run for BPF: half the time of LLVM's usual pipeline, for programs of the same size.  It
# turns no two checks into one that a verifier cannot follow, which the usual passes do.
_BPF_PASSES: Final = (
    "AlwaysInliner", "SROA", "SimplifyCFG", "InstCombine", "ADCE", "SimplifyCFG",
)  # fmt: skip

# name: (result, arguments)
_PROTOTYPES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "InitializeAllTargetInfos": (None, ()),
    "InitializeAllTargets": (None, ()),
    "InitializeAllTargetMCs": (None, ()),
    "InitializeAllAsmPrinters": (None, ()),
    "InitializeNativeAsmParser": (None, ()),
    "SetCommandLine": (None, (_STR, _STR)),
    "ContextCreate": (_PTR, ()),
    "ContextDispose": (None, (_PTR,)),
    "ParseAssembly": (_PTR, (_PTR, _STR, _OUT)),
    "DisposeModule": (None, (_PTR,)),
    "VerifyModule": (_INT, (_PTR, _OUT)),
    "PrintModuleToString": (None, (_PTR, _OUT)),
    "DisposeString": (None, (_PTR,)),
    "GetTargetFromTriple": (_PTR, (_STR, _OUT)),
    "CreateTargetMachine": (
        _PTR,
        (_PTR, _STR, _STR, _STR, _INT, _STR, _STR, _INT, _INT, _STR),
    ),
    "DisposeTargetMachine": (None, (_PTR,)),
    "TargetMachineEmitToMemory": (_PTR, (_PTR, _PTR, _INT, _OUT)),
    "GetBufferStart": (_PTR, (_PTR,)),
    "GetBufferSize": (ctypes.c_size_t, (_PTR,)),
    "DisposeMemoryBuffer": (None, (_PTR,)),
    "CreatePipelineTuningOptions": (_PTR, ()),
    "DisposePipelineTuningOptions": (None, (_PTR,)),
    "PTOSetLoopVectorization": (None, (_PTR, ctypes.c_bool)),
    "PTOSetSLPVectorization": (None, (_PTR, ctypes.c_bool)),
    "PTOSetLoopUnrolling": (None, (_PTR, ctypes.c_bool)),
    "CreatePassBuilder": (_PTR, (_PTR, _PTR)),
    "DisposePassBuilder": (None, (_PTR,)),
    "buildPerModuleDefaultPipeline": (_PTR, (_PTR, _INT)),
    "CreateNewModulePassManager": (_PTR, ()),
    **{f"module_Add{name}Pass": (None, (_PTR,)) for name in set(_BPF_PASSES)},
    "DisposeNewModulePassManger": (None, (_PTR,)),
    "RunNewModulePassManager": (None, (_PTR, _PTR, _PTR)),
}
# LLVM must not end the process because of a frame the kernel might refuse.  Blocks stay in the
# order of the IR: placed otherwise, a loop can be closed by falling through to its head, which
# some kernels refuse ("back-edge"); the programs are as small.
_OPTIONS: Final = (b"-bpf-stack-size=16384", b"-disable-block-placement")


class LlvmError(Exception):
    """LLVM is not there, or refused a module; the message is LLVM's own."""


class _Library:
    """The shared object with its entry points as attributes (prefix ``LLVMPY_`` dropped)."""

    def __init__(self, path: str) -> None:
        try:
            handle = ctypes.CDLL(path)
        except OSError as error:
            raise LlvmError(f"cannot load LLVM: {error}") from error
        for name, (result, arguments) in _PROTOTYPES.items():
            try:
                entry = getattr(handle, "LLVMPY_" + name)
            except AttributeError as error:
                raise LlvmError(f"{path} has no entry point LLVMPY_{name}") from error
            entry.restype = result
            entry.argtypes = arguments
            setattr(self, name, entry)
        for name in ("TargetInfos", "Targets", "TargetMCs", "AsmPrinters"):
            getattr(self, "InitializeAll" + name)()
        self.InitializeNativeAsmParser()
        for option in _OPTIONS:
            self.SetCommandLine(b"pystap", option)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


_library: _Library | None = None
_loading = _thread.allocate_lock()  # LLVM's initialisation is not made for two threads


def library_path() -> str:
    """Path of llvmlite's shared object, found without importing llvmlite.

    Raises :class:`LlvmError` when llvmlite is not installed.
    """
    for directory in sys.path:
        path = os.path.join(directory or ".", "llvmlite", "binding", "libllvmlite.so")
        if os.path.exists(path):
            return path
    raise LlvmError("LLVM is needed to compile this script: install the Python package llvmlite")


def _load() -> _Library:
    with _loading:
        return _loaded()


def _loaded() -> _Library:
    global _library
    if _library is None:
        _library = _Library(library_path())
    return _library


def preload() -> None:
    """Begin to load LLVM in another thread; who needs it, or calls :func:`settle`, waits for it.

    A failure is reported to who needs it.
    """

    def work() -> None:
        try:
            # This way the interpreter is left to others meanwhile, which CDLL does not.
            ctypes.CDLL(None).dlopen(library_path().encode(), os.RTLD_NOW)
            _loaded()
        except LlvmError:
            return  # comes again where LLVM is used
        finally:
            _loading.release()

    _loading.acquire()
    try:
        _thread.start_new_thread(work, ())
    except RuntimeError:  # no more threads: then later
        _loading.release()


def settle() -> None:
    """Wait for :func:`preload`: a process must not end amidst it."""
    with _loading:
        pass


def load() -> None:
    """Load LLVM now rather than at first use; raises :class:`LlvmError`."""
    _load()


def compile_object(
    ir_text: bytes,
    triple: str = BPF_TRIPLE,
    cpu: str = "v3",
    features: str = "",
    opt_level: int = 2,
    *,
    unroll: bool = True,
) -> bytes:
    """Compile textual IR to a relocatable ELF object.

    ``opt_level`` is 0 to 3 (0 still inlines ``alwaysinline``); ``unroll`` allows loop unrolling.
    May run in any thread; the interpreter lock is released while LLVM works.
    Raises :class:`LlvmError` with LLVM's message when the text does not parse or verify.
    """
    with _Compilation(ir_text, triple, cpu, features, opt_level) as work:
        work.optimise(opt_level, unroll)
        return work.emit(object_file=True)


def optimized_ir(
    ir_text: bytes,
    triple: str = BPF_TRIPLE,
    cpu: str = "v3",
    features: str = "",
    opt_level: int = 2,
) -> str:
    """The IR after optimisation, for debugging; errors as in :func:`compile_object`."""
    with _Compilation(ir_text, triple, cpu, features, opt_level) as work:
        work.optimise(opt_level, True)
        return work.print()


def assembly(
    ir_text: bytes,
    triple: str = BPF_TRIPLE,
    cpu: str = "v3",
    features: str = "",
    opt_level: int = 2,
) -> str:
    """The generated assembly text, for debugging; errors as in :func:`compile_object`."""
    with _Compilation(ir_text, triple, cpu, features, opt_level) as work:
        work.optimise(opt_level, True)
        return work.emit(object_file=False).decode("latin-1")


class _Compilation:
    """One module with its context and target machine; everything is freed on leaving."""

    def __init__(
        self, ir_text: bytes, triple: str, cpu: str, features: str, opt_level: int
    ) -> None:
        if not 0 <= opt_level <= 3:
            raise ValueError("opt_level must be 0 to 3")
        self._lib = _load()
        self._bpf = triple.startswith("bpf")
        self._machine = self._module = self._context = None
        try:
            self._machine = self._target_machine(triple, cpu, features, opt_level)
            self._context = self._lib.ContextCreate()
            self._module = self._parse(ir_text)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> _Compilation:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free what was made; may be called in any state."""
        if self._module:
            self._lib.DisposeModule(self._module)
        if self._context:
            self._lib.ContextDispose(self._context)
        if self._machine:
            self._lib.DisposeTargetMachine(self._machine)
        self._module = self._context = self._machine = None

    def _target_machine(self, triple: str, cpu: str, features: str, opt_level: int) -> Any:
        out = ctypes.c_void_p()
        target = self._lib.GetTargetFromTriple(triple.encode(), ctypes.byref(out))
        if not target:
            raise LlvmError(_take_string(self._lib, out) or f"unknown target {triple}")
        machine = self._lib.CreateTargetMachine(
            target,
            triple.encode(),
            cpu.encode(),
            features.encode(),
            opt_level,
            b"default" if self._bpf else b"pic",
            b"default" if self._bpf else b"small",
            0,
            0,
            b"",
        )
        if not machine:
            raise LlvmError(f"LLVM has no machine {cpu} for target {triple}")
        return machine

    def _parse(self, ir_text: bytes) -> Any:
        out = ctypes.c_void_p()
        module = self._lib.ParseAssembly(self._context, ir_text, ctypes.byref(out))
        if not module:
            raise LlvmError(_take_string(self._lib, out) or "the IR does not parse")
        if self._lib.VerifyModule(module, ctypes.byref(out)):
            message = _take_string(self._lib, out)
            self._lib.DisposeModule(module)
            raise LlvmError(message or "the IR does not verify")
        return module

    def optimise(self, opt_level: int, unroll: bool) -> None:
        """Run the default pipeline of the level over the module, for BPF a shorter one."""
        lib = self._lib
        options = lib.CreatePipelineTuningOptions()
        # BPF has no vectors, and what is compiled natively has only short loops.
        lib.PTOSetLoopVectorization(options, False)
        lib.PTOSetSLPVectorization(options, False)
        lib.PTOSetLoopUnrolling(options, unroll)
        builder = lib.CreatePassBuilder(self._machine, options)
        if self._bpf and opt_level > 0:
            passes = lib.CreateNewModulePassManager()
            for name in _BPF_PASSES:
                getattr(lib, f"module_Add{name}Pass")(passes)
        else:
            passes = lib.buildPerModuleDefaultPipeline(builder, opt_level)
        try:
            lib.RunNewModulePassManager(passes, self._module, builder)
        finally:
            lib.DisposeNewModulePassManger(passes)
            lib.DisposePassBuilder(builder)
            lib.DisposePipelineTuningOptions(options)

    def emit(self, *, object_file: bool) -> bytes:
        """Generate code for the module."""
        lib = self._lib
        out = ctypes.c_void_p()
        buffer = lib.TargetMachineEmitToMemory(
            self._machine, self._module, int(object_file), ctypes.byref(out)
        )
        if not buffer:
            raise LlvmError(_take_string(lib, out) or "LLVM cannot emit this module")
        try:
            return ctypes.string_at(lib.GetBufferStart(buffer), lib.GetBufferSize(buffer))
        finally:
            lib.DisposeMemoryBuffer(buffer)

    def print(self) -> str:
        """The module as text."""
        out = ctypes.c_void_p()
        self._lib.PrintModuleToString(self._module, ctypes.byref(out))
        return _take_string(self._lib, out)


def _take_string(lib: _Library, out: ctypes.c_void_p) -> str:
    """Copy a string LLVM returned and free it."""
    if not out.value:
        return ""
    text = ctypes.string_at(out.value).decode("utf-8", "replace")
    lib.DisposeString(out)
    out.value = None
    return text.strip()
