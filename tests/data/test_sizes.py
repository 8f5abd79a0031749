"""What is told of a data set's sizes."""

import dataclasses

import numpy as np
import pytest

from sslx import data
from sslx.data.sizes import sizes
from sslx.data.types import Dataset, Split, image_classes, text_corpus
from sslx.modalities import MODALITIES
from sslx.ops.text import Vocabulary
from sslx.tasks import TASKS


def split(*counts, y=None):
  """So many examples of each class."""
  y = np.repeat(np.arange(len(counts), dtype=np.int32), counts) if y is None else y
  return Split(np.zeros((len(y), 2, 2, 1), np.uint8), y)


@pytest.mark.parametrize(
  ("dataset", "line"),
  [
    (image_classes("a", ("cat", "dog"), split(1, 2)), "a: 3 labelled images (cat 1, dog 2), no test split"),
    (
      image_classes("a", ("cat", "dog"), split(1200, 0), split(3, 4), Split(np.zeros((3000, 2, 2, 1)), None)),
      "a: 1,200 labelled images (cat 1,200, dog 0), 7 of test (cat 3, dog 4), 3,000 unlabelled",
    ),
    (
      image_classes("a", [*"abcdefghi"], split(*range(2, 11)), split(*[5] * 9)),
      "a: 54 labelled images (9 classes of 2 to 10), 45 of test (9 classes of 5)",
    ),
    (image_classes("a", (), Split(np.zeros((1, 2, 2, 1)), None)), "a: 1 image without labels"),
    (
      dataclasses.replace(image_classes("a", ("x", "y"), split(y=np.array([[1, 0], [1, 1]], np.uint8))),
                          task=TASKS["multilabel"](("x", "y"))),
      "a: 2 labelled images (x 2, y 1), no test split",
    ),
    (
      Dataset("a", MODALITIES["image"], TASKS["regression"](["age"]), split(y=np.zeros((4, 1))), split(y=np.zeros(2))),
      "a: 4 labelled images, 2 of test",
    ),
    (
      text_corpus("a", Vocabulary(("x", "y"), np.ones(2), np.ones(2), 2), np.ones((5, 3), np.int32)),
      "a: 5 texts without labels",
    ),
  ],
)  # fmt: skip
def test_one_line(dataset, line):
  assert sizes(dataset) == line


def test_of_an_embedded_set():
  train, test = "60,000 labelled images (10 classes of 5,421 to 6,742)", "10,000 of test (10 classes of 892 to 1,135)"
  assert sizes(data.load("mnist")) == f"mnist: {train}, {test}"
