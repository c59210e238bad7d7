"""All tests of sema know the made-up probe family."""

from __future__ import annotations

import pytest

from pystap.probes import registry

from . import fakefamily


@pytest.fixture(autouse=True)
def _fake_family(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.family
    monkeypatch.setattr(
        registry, "family", lambda root: fakefamily.FAMILY if root == "fake" else real(root)
    )
    roots = registry.roots()
    monkeypatch.setattr(registry, "roots", lambda: (*roots, "fake"))
