"""Gets the native consumer's code: from the cache, or compiled in a thread of its own."""

from __future__ import annotations

import _thread

from pystap.output import native
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.llvm.native import NativeCode


class NativeLoader:
    """Finds or makes the code without holding the caller up.

    ``problem`` says what went wrong: there is no code, or it could not be kept for next time.
    """

    def __init__(self, cache_dir: str | None) -> None:
        self.problem: str | None = None
        self._cache_dir = cache_dir
        self._looked = False
        self._running: _thread.LockType | None = None
        self._object: bytes | None = None

    def poll(self, *, may_compile: bool) -> NativeCode | None:
        """The code if it is there by now; starts the compiler at most once."""
        if not self._looked:
            self._looked = True
            code = self._from_cache()
            if code is not None:
                return code
        if self._running is None:
            if may_compile and self._supported():
                self._start()
            return None
        if self._object is None or self._running.locked():
            return None
        return self._map(self._object)

    def join(self) -> None:
        """Wait for the compiler: LLVM must not run while the process takes itself apart."""
        if self._running is not None:
            with self._running:
                pass

    def _from_cache(self) -> NativeCode | None:
        if self._cache_dir is None:
            return None
        from pystap.backend.llvm.native import NativeError

        try:
            return native.load_cached(self._cache_dir)
        except (NativeError, OSError) as error:
            self.problem = str(error)
            return None

    def _supported(self) -> bool:
        from pystap.backend.llvm.native import supported

        if not supported():
            self.problem = "no native output formatter for this processor"
        return self.problem is None

    def _start(self) -> None:
        self._running = _thread.allocate_lock()
        self._running.acquire()
        _thread.start_new_thread(self._compile, ())

    def _compile(self) -> None:
        """The thread: everything that can go wrong becomes ``problem``."""
        assert self._running is not None
        try:
            self._object = native.compile_consumer()
            if self._cache_dir is not None:
                native.store_cached(self._cache_dir, self._object)
        except Exception as error:  # a thread has nobody to raise to
            self.problem = f"{type(error).__name__}: {error}"
        finally:
            self._running.release()

    def _map(self, content: bytes) -> NativeCode | None:
        from pystap.backend.llvm.native import NativeCode, NativeError

        self._object = None
        try:
            return NativeCode(content)
        except (NativeError, OSError) as error:
            self.problem = str(error)
            return None
