"""How many examples a data set has, in one line: what its user looks at first, as a wrong folder shows there."""

import numpy as np

from sslx.data.check import THINGS
from sslx.data.types import Dataset, Split
from sslx.tasks import NO_TASK
from sslx.types import Task

MOST_NAMED = 8  # classes, each of which is told with its count


def sizes(dataset: Dataset) -> str:
  """One line: `folder:photos: 120 labelled images (cat 60, dog 60), no test split, 3,000 unlabelled`."""
  task, thing = dataset.task, THINGS.get(dataset.modality.name, "example")
  things = thing if len(dataset.train) == 1 else f"{thing}s"
  if task.name == NO_TASK:
    parts = [f"{len(dataset.train):,} {things} without labels"]
    if len(dataset.test):
      parts.append(f"{len(dataset.test):,} of test")
  else:
    parts = [f"{len(dataset.train):,} labelled {things}{_of_classes(task, dataset.train)}"]
    has_test = len(dataset.test) > 0
    parts.append(f"{len(dataset.test):,} of test{_of_classes(task, dataset.test)}" if has_test else "no test split")
  if dataset.unlabeled is not None:
    parts.append(f"{len(dataset.unlabeled):,} unlabelled")
  return f"{dataset.name}: {', '.join(parts)}"


def _of_classes(task: Task, split: Split) -> str:
  """In brackets: how many are of each class; of many classes, how many at least and at most."""
  if task.name not in ("classification", "multilabel"):
    return ""
  y = split.targets()
  counts = np.bincount(y, minlength=len(task.names)) if task.name == "classification" else y.sum(0, dtype=np.int64)
  if len(counts) <= MOST_NAMED:
    return f" ({', '.join(f'{name} {count:,}' for name, count in zip(task.names, counts, strict=True))})"
  least, most = counts.min(), counts.max()
  return f" ({len(counts):,} classes of {least:,}{'' if least == most else f' to {most:,}'})"
