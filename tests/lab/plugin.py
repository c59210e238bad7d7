"""The pytest marker ``lab``: tests that run in machines of the lab.

A marked test (or module: ``pytestmark = pytest.mark.lab``) becomes one test for each kernel.  The
first of a kernel boots a machine in which another pytest runs all selected tests of that kernel;
here each test waits for its result and takes it over.  A test may ask for ``lab_kernel``, the
kernel's name.  Beyond its own assertions a test fails when the kernel complains while it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from . import kernels, modules
from .boot import Boot
from .guest import Guest

_KERNEL = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the lab."""
    add = parser.getgroup("lab").addoption
    add("--lab-kernel", action="append", default=[], metavar="KERNEL",
        help="run tests of the lab on this kernel (may be repeated; default: "
        f"{' and '.join(kernels.DEFAULT)})")  # fmt: skip
    add("--lab-seconds", type=float, default=1800, metavar="SECONDS",
        help="time that one kernel's tests may take together (default: 1800)")  # fmt: skip
    add("--lab-whole", action="store_true",
        help="run every test on every kernel, shared out or not")  # fmt: skip
    add("--lab-guest", default=None, help="(internal) this is the machine of a kernel")
    add("--lab-directory", default=None, help="(internal) where selection and results are")


def pytest_configure(config: pytest.Config) -> None:
    """Take the part of this side."""
    config.addinivalue_line("markers", "lab: run this test on the kernels of the lab")
    config.addinivalue_line(
        "markers",
        "shared_out(one_in=N, long=False): one kernel is enough for each of these many tests of "
        "the lab; where they are too many, a kernel has one in N of them by default, of long "
        "ones none",
    )
    directory = config.getoption("lab_directory")
    if directory is not None:
        config.pluginmanager.register(Guest(config, directory))
        return
    config.pluginmanager.register(Host(config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a kernel in one worker of pytest-xdist; share out others one by one."""
    if config.getoption("dist") != "load" or "not lab" in config.getoption("markexpr"):
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    names = config.getoption("lab_kernel") or kernels.DEFAULT
    ids = sorted(map(_id, names), key=len, reverse=True)  # 6.12 is not 6.1

    class ByKernel(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return next((one for one in ids if one in nodeid), nodeid)

    return ByKernel(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each kernel."""
    if metafunc.definition.get_closest_marker("lab") is None:
        return
    guest = metafunc.config.getoption("lab_guest")
    names = [guest] if guest else metafunc.config.getoption("lab_kernel") or kernels.DEFAULT
    metafunc.fixturenames.append("lab_kernel")
    metafunc.parametrize("lab_kernel", names, ids=_id, scope="session")


@pytest.fixture(scope="session", name="modules")
def built_modules(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> modules.Modules:
    """In the machine: kernel modules, built outside."""
    shared = Path(request.config.getoption("lab_directory"))
    return modules.Modules(shared, tmp_path_factory.mktemp("modules"))


def _id(kernel: str) -> str:
    """What tells a kernel's tests in names."""
    return f"@{kernel}"


def _is_left_out(item: pytest.Item) -> bool:
    """Whether a test that is shared out falls to another kernel than its own, or to none."""
    marker = item.get_closest_marker("shared_out")
    if marker is None:
        return False
    if marker.kwargs.get("long", False):
        return True
    assert isinstance(item, pytest.Function)
    names = item.config.getoption("lab_kernel") or kernels.DEFAULT
    own = list(names).index(item.callspec.params["lab_kernel"])
    label = "-".join(str(v) for k, v in item.callspec.params.items() if k != "lab_kernel")
    one_in: int = marker.kwargs.get("one_in", 0)
    return crc32(label.encode()) % max(len(names), one_in) != own


class Host:
    """Replaces running a marked test by taking over its result from the machine."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._boots: dict[str, Boot] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note which tests are of the lab; leave out those that are shared out to others."""
        if not self._config.getoption("lab_whole"):
            gone = [item for item in items if _is_left_out(item)]
            if gone:
                self._config.hook.pytest_deselected(items=gone)
                left = set(map(id, items)) - set(map(id, gone))
                items[:] = [item for item in items if id(item) in left]
        for item in items:
            if item.get_closest_marker("lab") is not None:
                assert isinstance(item, pytest.Function)
                kernel = str(item.callspec.params["lab_kernel"])
                item.stash[_KERNEL] = kernel

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """Take over a test's result; None for a test that runs here."""
        kernel = item.stash.get(_KERNEL, None)
        if kernel is None:
            return None
        boot = self._boots.get(kernel) or self._boot(kernel, item.session.items)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in boot.take(item.nodeid, item):
            report.location = item.location
            item.ihook.pytest_runtest_logreport(report=report)
        # What the test before needed to run here may not be needed any more.
        item.session._setupstate.teardown_exact(nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """End machines that still run, after an interrupt for instance."""
        for boot in self._boots.values():
            boot.close()

    def _boot(self, kernel: str, items: list[pytest.Item]) -> Boot:
        nodes = [i.nodeid for i in items if i.stash.get(_KERNEL, None) == kernel]
        scopes = {id(i.module): vars(i.module) for i in items
                  if isinstance(i, pytest.Function) and i.nodeid in nodes}  # fmt: skip
        wanted = modules.declared(scopes.values())
        self._boots[kernel] = Boot(self._config, kernel, nodes, wanted)
        return self._boots[kernel]
