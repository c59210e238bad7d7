"""Downloads from servers that work, that do not, and that do so badly."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pystap.debuginfo import debuginfod
from pystap.debuginfo.elf import Elf


class Server:
    """A server on this machine that answers by a function; ``asked`` are the paths it was asked
    for, ``go_on`` ends its waiting."""

    def __init__(self, answer: Callable[[Answer], None]) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.sent = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                with suppress(ConnectionError):  # the other side had enough
                    answer(Answer(self, server))

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.go_on.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class Answer:
    """What a server says."""

    def __init__(self, handler: BaseHTTPRequestHandler, server: Server) -> None:
        self._handler = handler
        self.server = server

    def head(self, status: int = 200, length: int | None = None, **more: str) -> None:
        self._handler.send_response(status)
        if length is not None:
            self._handler.send_header("Content-Length", str(length))
        for name, value in more.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()

    def body(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Answer], None]], Server]]:
    servers: list[Server] = []

    def start(answer: Callable[[Answer], None]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[[Callable[[Answer], None]], Server]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """A file with a build id, and that."""
    path = tmp_path_factory.mktemp("program") / "program"
    source = b"int table[100000] = { 1 }; int main(void) { return table[1]; }"
    command = ["gcc", "-g", "-Wl,--build-id", "-o", str(path), "-x", "c", "-"]
    subprocess.run(command, input=source, check=True)
    with Elf(str(path)) as elf:
        build_id = elf.build_id()
    assert build_id
    return path.read_bytes(), build_id


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TIMEOUT", "MAXTIME", "MAXSIZE", "PROGRESS", "URLS"):
        monkeypatch.delenv(f"DEBUGINFOD_{name}", raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(folder))
    return folder


def fetch(
    monkeypatch: pytest.MonkeyPatch, build_id: str, *servers: str
) -> tuple[str | None, list[str]]:
    """The path and what was looked at."""
    monkeypatch.setenv("DEBUGINFOD_URLS", " ".join(servers))
    looked: list[str] = []
    return debuginfod.download(build_id, "debuginfo", looked), looked


def files(folder: Path) -> list[str]:
    """Every file of the cache."""
    return [path.name for path in folder.rglob("*") if not path.is_dir()]


def giving(data: bytes) -> Callable[[Answer], None]:
    def answer(to: Answer) -> None:
        to.head(length=len(data))
        to.body(data)

    return answer


def missing(to: Answer) -> None:
    to.head(404, 0)


def broken(to: Answer) -> None:
    to.head(503, 0)


def silent(to: Answer) -> None:
    to.server.go_on.wait()


def test_kept_for_the_next_time(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, build_id = program
    server = serve(giving(data))
    for _ in range(2):
        path, looked = fetch(monkeypatch, build_id, server.url + "/")
        assert path == str(cache / build_id / "debuginfo")
        assert Path(path).read_bytes() == data
    assert server.asked == [f"/buildid/{build_id}/debuginfo"]
    assert files(cache) == ["debuginfo"]
    assert looked == [path]


def test_first_of_several_that_has_it(
    serve: Serve, program: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, build_id = program
    servers = [serve(missing), serve(silent), serve(broken), serve(giving(data))]
    urls = ["http://127.0.0.1:1", *(server.url for server in servers)]
    path, looked = fetch(monkeypatch, build_id, *urls)
    assert path is not None
    assert Path(path).read_bytes() == data
    assert [place.partition("/buildid")[0] for place in looked] == urls


def test_one_that_breaks_off_is_followed_by_another(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, build_id = program
    first = serve(lambda to: (to.head(length=len(data)), to.body(data[:5000]))[0])
    good = serve(lambda to: (first.sent.wait(), giving(data)(to))[1])
    monkeypatch.setattr(debuginfod, "_receive", _then(debuginfod._receive, first.sent.set))
    path, looked = fetch(monkeypatch, build_id, first.url, good.url)
    assert path is not None
    assert f"(ended after 5000 of {len(data)} bytes)" in looked[0]
    assert looked[1].startswith(good.url)
    assert files(cache) == ["debuginfo"]


def _then(function: Callable[..., None], action: Callable[[], None]) -> Callable[..., None]:
    def both(*arguments: object) -> None:
        try:
            function(*arguments)
        finally:
            action()

    return both


def test_nobody_has_it(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = program[1]
    servers = [serve(missing), serve(missing)]
    urls = [server.url for server in servers]
    assert fetch(monkeypatch, build_id, *urls)[0] is None
    path, looked = fetch(monkeypatch, build_id, *urls)
    assert path is None
    assert looked == [f"{cache}/{build_id}/debuginfo (no server had it lately)"]
    assert [len(server.asked) for server in servers] == [1, 1]
    old = time.time() - 601
    os.utime(cache / build_id / "debuginfo", (old, old))
    fetch(monkeypatch, build_id, *urls)
    assert [len(server.asked) for server in servers] == [2, 2]
    (cache / "cache_miss_s").write_text("0")
    fetch(monkeypatch, build_id, *urls)
    assert [len(server.asked) for server in servers] == [3, 3]


def test_a_failure_is_no_answer_to_remember(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = program[1]
    server = serve(broken)
    for _ in range(2):
        path, looked = fetch(monkeypatch, build_id, server.url)
        assert path is None
        assert "Service Unavailable" in looked[0]
    assert len(server.asked) == 2
    assert files(cache) == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("DEBUGINFOD_MAXSIZE=1000", "larger than 1000 bytes"),
        ("DEBUGINFOD_TIMEOUT=1", "less than 100 kB in 1 s"),
        ("DEBUGINFOD_MAXTIME=1", "took longer than 1 s"),
    ],
)
def test_limits(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch,
    setting: str, message: str,
) -> None:  # fmt: skip
    """The server gives a little, again and again."""

    def answer(to: Answer) -> None:
        to.head()
        while not to.server.go_on.wait(0.02):
            to.body(b"\x7fELF" * 10)

    name, _, value = setting.partition("=")
    monkeypatch.setenv(name, value)
    path, looked = fetch(monkeypatch, program[1], serve(answer).url)
    assert path is None
    assert looked[0].endswith(f"({message})")
    assert files(cache) == []


def test_size_that_is_announced(
    serve: Serve, program: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed, less comes over the network than there will be."""
    monkeypatch.setenv("DEBUGINFOD_MAXSIZE", "1000")
    server = serve(lambda to: (to.head(X_DEBUGINFOD_SIZE="5000"), to.body(b"x"))[0])
    _, looked = fetch(monkeypatch, program[1], server.url)
    assert looked[0].endswith("(larger than 1000 bytes)")


def test_a_server_that_says_nothing(
    serve: Serve, program: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBUGINFOD_TIMEOUT", "1")
    path, looked = fetch(monkeypatch, program[1], serve(silent).url)
    assert path is None
    assert looked[0].endswith("(no answer for 1 s)")


@pytest.mark.parametrize("page", [b"<html>Please log in</html>", b""])
def test_something_else_is_not_kept(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch,
    page: bytes,
) -> None:  # fmt: skip
    path, looked = fetch(monkeypatch, program[1], serve(giving(page)).url)
    assert path is None
    assert looked[0].endswith("(the answer is not what was asked for)")
    assert files(cache) == []


def test_another_file_is_not_kept(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = fetch(monkeypatch, "ab" * 20, serve(giving(program[0])).url)
    assert path is None
    assert files(cache) == []


def test_no_address_of_the_web(
    program: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looked = fetch(monkeypatch, program[1], "server", "ftp://server")
    assert path is None
    assert all(place.endswith("(not a web address)") for place in looked)


def test_nothing_stays_of_a_process_that_is_killed(
    serve: Serve, program: tuple[bytes, str], cache: Path
) -> None:
    data, build_id = program

    def answer(to: Answer) -> None:
        to.head(length=len(data))
        to.body(data[: len(data) // 2])
        to.server.sent.set()
        to.server.go_on.wait()

    server = serve(answer)
    code = (
        "from pystap.debuginfo.debuginfod import download\n"
        f"download({build_id!r}, 'debuginfo', [])"
    )
    environment = {**os.environ, "DEBUGINFOD_URLS": server.url}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        assert server.sent.wait(60)
        while not any(_open_files(process.pid, cache)):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert files(cache) == []


def _open_files(pid: int, folder: Path) -> Iterator[str]:
    """Files below a folder that a process has open and has written to."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if entry.readlink().is_relative_to(folder) and entry.stat().st_size:
                yield entry.name
        except FileNotFoundError:  # closed meanwhile
            continue


def test_a_file_system_without_nameless_files(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, build_id = program
    opened = os.open

    def refusing(path: str, flags: int, *more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", refusing)
    assert fetch(monkeypatch, "cd" * 20, serve(giving(data)).url)[0] is None
    assert files(cache) == []
    path, _ = fetch(monkeypatch, build_id, serve(giving(data)).url)
    assert path is not None
    assert Path(path).read_bytes() == data
    assert files(cache) == ["debuginfo"]


def test_what_is_old_goes(
    serve: Serve, program: tuple[bytes, str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, build_id = program
    for name, days in (("aa" * 20, 8), ("bb" * 20, 6), ("not-ours", 8)):
        file = cache / name / "debuginfo"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
        old = time.time() - days * 86400
        os.utime(file, (old, old))
    fetch(monkeypatch, build_id, serve(giving(data)).url)
    assert not (cache / ("aa" * 20) / "debuginfo").exists()
    assert (cache / ("bb" * 20) / "debuginfo").exists()
    assert (cache / "not-ours" / "debuginfo").exists()
    assert (cache / build_id / "debuginfo").exists()


class Terminal(io.StringIO):
    def __init__(self, is_one: bool) -> None:
        super().__init__()
        self._is_one = is_one

    def isatty(self) -> bool:
        return self._is_one


@pytest.mark.parametrize(("terminal", "asked_for"), [(True, False), (False, False), (False, True)])
def test_progress(
    serve: Serve, program: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch, terminal: bool,
    asked_for: bool,
) -> None:  # fmt: skip
    data, build_id = program
    monkeypatch.setattr(debuginfod, "_PROGRESS_SECONDS", -1.0)
    stream = Terminal(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    if asked_for:
        monkeypatch.setenv("DEBUGINFOD_PROGRESS", "1")
    server = serve(giving(data))
    assert fetch(monkeypatch, build_id, server.url)[0]
    shown = stream.getvalue()
    if terminal:
        assert shown.startswith(f"\rDownloading from {server.url}/buildid/{build_id}/debuginfo: ")
        assert shown.endswith("100 % of 0.4 MB\x1b[K\r\x1b[K")
        assert "\n" not in shown
    elif asked_for:
        assert shown.endswith(": 100 % of 0.4 MB\n")
    else:
        assert shown == ""
