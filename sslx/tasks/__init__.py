"""TASKS: what may be asked with labels, by name. A new task is one file here and one line in this table."""

from collections.abc import Callable, Sequence

from sslx.tasks.classification import classification
from sslx.types import Task

TASKS: dict[str, Callable[[Sequence[str]], Task]] = {"classification": classification}
"""Name -> (names of the outputs) -> the task."""
