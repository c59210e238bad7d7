"""Pass 5: a session of an artifact, with its target, output file and time limit."""

from __future__ import annotations

import os

from pystap.cli.report import PassReport, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.artifact import Artifact
    from pystap.options import Options
    from pystap.output.consumer import OutputError
    from pystap.session.attach import AttachError
    from pystap.session.cache import Entry
    from pystap.session.loader import Loaded
    from pystap.session.output import Output
    from pystap.session.userobjects import UserObjects

_RING_BYTES = 16 << 20
_RING_BYTES_SESSION_ONLY = 4 << 20  # handlers that only the session itself runs
_CONSUMER_PRIORITY = -10


def run_artifact(options: Options, entry: Entry, report: PassReport) -> int:
    """Run a translated program; the exit status."""
    from pystap.cli.privilege import refusal
    from pystap.output.consumer import OutputError
    from pystap.session.attach import AttachError
    from pystap.session.loader import FilesError, LoadError
    from pystap.session.memory import TooMuchMemoryError
    from pystap.session.outfile import OutputFileError
    from pystap.session.target import TargetError

    lines = refusal()
    if lines:
        for line in lines:
            complain(line)
        report.failed(5)
        return 1
    report.begin()
    report.say(5, "starting run.")
    try:
        status = _run(options, entry.artifact, report)
    except (OutputFileError, TargetError, FilesError) as error:
        complain(f"ERROR: {error}")
        status = 1
    except LoadError as error:
        _explain_load_failure(error, entry.artifact)
        status = 1
    except TooMuchMemoryError as error:
        for line in error.lines:
            complain(line)
        status = 1
    except AttachError as error:
        _explain_attach_failure(error, entry.artifact)
        status = 1
    except OutputError as error:
        status = _output_failed(options, error)
    if status == 0:
        report.end(5, "run completed", memory=False)
    else:
        report.failed(5)
    return status


def _explain_attach_failure(failure: AttachError, artifact: Artifact) -> None:
    from errno import EMFILE

    from pystap.session.errors import too_many_files

    probe = artifact.probes[failure.probe]
    if failure.error.errno == EMFILE:
        for line in too_many_files(probe.point, artifact):
            complain(line)
        return
    complain(f"ERROR: cannot attach probe {probe.point} ({probe.origin}): {failure}")


def _run(options: Options, artifact: Artifact, report: PassReport) -> int:
    from pystap.cli.environment import index_directory
    from pystap.kernel.cpu import possible_cpus, tick_rate
    from pystap.session.loader import Loaded
    from pystap.session.outfile import open_output
    from pystap.session.output import Output
    from pystap.session.run import Session
    from pystap.session.target import Command, check_pid

    if options.target_pid is not None:
        check_pid(options.target_pid)
    fd = open_output(options.output)
    session_only = all(spec.attach == "session" for spec in artifact.programs)
    size = _RING_BYTES_SESSION_ONLY if session_only else _RING_BYTES
    command = Command(options.cmd) if options.cmd is not None else None
    try:
        if not session_only:
            _raise_priority()
        loaded = Loaded(artifact, max(possible_cpus()) + 1, size)
        if loaded.ring is None:
            raise AssertionError("an artifact without output map")
        output = Output(
            loaded.ring,
            artifact,
            fd,
            index_directory(),
            quiet_warnings=options.suppress_warnings,
        )
        target = command.pid if command else options.target_pid or 0
        session = Session(
            artifact,
            loaded,
            output,
            hz=tick_rate(),
            target=target,
            command=command,
            timeout_ns=None if options.timeout is None else int(options.timeout * 1e9),
            tell=lambda text: report.say(5, text),
            objects=_object_maker(options, loaded, output) if artifact.user_parts else None,
        )
        try:
            return session.run()
        finally:
            loaded.close()
    finally:
        if command is not None:
            command.finish()


def _object_maker(
    options: Options, loaded: Loaded, output: Output
) -> Callable[[int], UserObjects]:
    """What makes the tables of programs, for scripts that ask for user-space stacks or symbols."""
    from pystap.cli.environment import index_directory
    from pystap.probes.attach import files_of
    from pystap.session.target import split
    from pystap.session.userobjects import UserObjects, Wanted
    from pystap.session.usertables import MapTables

    artifact = loaded.artifact
    wanted = Wanted(
        options.object_files(),
        options.libraries,
        split(options.cmd)[0] if options.cmd is not None else "",
        options.target_pid or 0,
        "" if options.disable_cache else index_directory(),
        options.sysroot,
        sorted(set[str]().union(*(files_of(p.attach) for p in artifact.probes))),
        "stacks" in artifact.user_parts,
        "places" in artifact.user_parts,
    )
    return lambda program: UserObjects(MapTables(loaded, program), wanted, output.warn)


def _raise_priority() -> None:
    """Let the consumer keep up with busy producers; without the right to, it runs as it is."""
    import contextlib

    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _CONSUMER_PRIORITY)


def _output_failed(options: Options, error: OutputError) -> int:
    import errno

    if error.errno == errno.EPIPE:
        return 1  # whoever read our output has gone; nobody is there to be told
    where = f"'{options.output}'" if options.output else "standard output"
    complain(f"ERROR: cannot write to {where}: {error}")
    return 1


def _explain_load_failure(error: object, artifact: Artifact) -> None:
    from pystap.session.errors import load_failure
    from pystap.session.loader import LoadError

    if not isinstance(error, LoadError):
        raise TypeError(error)
    path = ""
    if error.log:
        from tempfile import mkstemp

        handle, path = mkstemp(prefix="pystap-verifier-", suffix=".log")
        with open(handle, "w", encoding="latin-1") as file:
            file.write(error.log)
    for line in load_failure(error, artifact, path):
        complain(line)
