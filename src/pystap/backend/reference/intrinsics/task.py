"""The current task."""

from __future__ import annotations

from collections.abc import Callable

from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.environment import Task
    from pystap.backend.reference.state import Context
    from pystap.ir.ops import Intrinsic


def _of_task(read: Callable[[Task], Any]) -> Callable[[Context, Intrinsic], Any]:
    return lambda context, _op: read(context.task)


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "pid": _of_task(lambda task: task.pid),
    "tid": _of_task(lambda task: task.tid),
    "uid": _of_task(lambda task: task.uid),
    "gid": _of_task(lambda task: task.gid),
    "execname": _of_task(lambda task: task.execname[:15]),
    "task_current": _of_task(lambda task: task.address),
    "cgroup_id": _of_task(lambda task: task.cgroup),
    "in_target": _of_task(lambda task: int(task.in_target)),
    "cpu": lambda context, _op: context.event.cpu,
}
