"""TASKS: what may be asked with labels, by name. A new task is one file here and one line in this table."""

from collections.abc import Callable, Sequence

from sslx.tasks.classification import classification
from sslx.tasks.detection import detection
from sslx.tasks.multilabel import multilabel
from sslx.tasks.none import none
from sslx.tasks.regression import regression
from sslx.tasks.segmentation import segmentation
from sslx.types import Task

TASKS: dict[str, Callable[[Sequence[str]], Task]] = {
  "classification": classification,
  "multilabel": multilabel,
  "regression": regression,
  "segmentation": segmentation,
  "detection": detection,
  "none": none,
}
"""Name -> (names of the classes, or of the numbers) -> the task."""
NO_TASK = "none"
ASKED = tuple(name for name in TASKS if name != NO_TASK)
"""Those that ask something."""
