"""What a command line of staprun asks for."""

from __future__ import annotations

from pystap.records import dataclass, field
from pystap.staprun.outputs import Rotation


@dataclass(slots=True)
class Request:
    """A session to be: ``module`` is a file or a name.

    ``action`` is ``run``, ``attach`` (``-A``) or ``delete`` (``-d``); ``leave``: detach at once
    (``-L``); ``background``: as a daemon (``-D``); ``interval``: seconds between looks at the
    output; ``deadline``: monotonic time of the end; ``parameters``: for the module.
    """

    module: str
    action: str = "run"
    target: int = 0
    command: str | None = None
    output: str | None = None
    rotation: Rotation | None = None
    leave: bool = False
    background: bool = False
    unique: bool = False
    quiet: bool = False
    verbose: int = 0
    interval: float = 0.05
    deadline: float | None = None
    parameters: list[str] = field(default_factory=list)
