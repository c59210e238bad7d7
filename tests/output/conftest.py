"""The native consumer's code, compiled once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pystap.backend.llvm.native import NativeCode
from pystap.output.native import compile_consumer


@pytest.fixture(scope="session")
def consumer_object() -> bytes:
    return compile_consumer()


@pytest.fixture(scope="session")
def native_code(consumer_object: bytes) -> Iterator[NativeCode]:
    code = NativeCode(consumer_object)
    yield code
    code.close()
