"""The interpreter that is the oracle of the tests: IR run in Python, without any kernel."""

from __future__ import annotations

from pystap.backend.reference.environment import Environment, Event, Task
from pystap.backend.reference.faults import InterpreterError
from pystap.backend.reference.interpreter import Interpreter, Result
from pystap.backend.reference.memory import Memory

__all__ = ["Environment", "Event", "Interpreter", "InterpreterError", "Memory", "Result", "Task"]
