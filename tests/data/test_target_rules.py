"""The rules for targets of data sets made by hand."""

import dataclasses

import numpy as np
import pytest

from sslx.data import target_rules
from sslx.data.check import checked
from sslx.data.types import Dataset, Split
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS
from sslx.types import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3)).astype(np.uint8)


def made(task, names, train, test=None, **changes):
  test = train if test is None else test
  splits = Split(IMAGES, train, [f"{i}.png" for i in range(4)]), Split(255 - IMAGES, test)
  return dataclasses.replace(Dataset("mine", MODALITIES["image"], TASKS[task](names), *splits), **changes)


def refused(dataset, message):
  with pytest.raises(UserError, match=f"^mine: .*{message}") as error:
    checked(dataset)
  assert "\n" not in str(error.value)


def but(y, place, value):
  y = y.copy()
  y[place] = value
  return y


NUMBERS = np.array([[1.5, 7], [2, 8], [3, 8], [4, 8]], np.float32)
FLAGS = np.array([[0, 1], [1, 0], [1, 1], [0, 0]], np.uint8)
MASKS = np.arange(4 * 6 * 8).reshape(4, 6, 8).astype(np.uint8) % 3
BOXES = np.array([[[0, 0, 0, 6, 8], [1, 1, 2, 3, 4]], [[1, 0, 0, 1, 1], [-1] + [0] * 4]] * 2, np.float32)


@pytest.mark.parametrize(
  ("task", "names", "y"),
  [
    ("regression", "ab", NUMBERS),
    ("multilabel", "ab", FLAGS),
    ("segmentation", "abc", MASKS),
    ("segmentation", "abc", but(MASKS, (2, 3), 255)),
    ("detection", "ab", BOXES),
    ("detection", "ab", BOXES[:, :1]),
  ],
)
def test_what_keeps_the_rules(task, names, y, capsys):
  dataset = made(task, names, y)
  assert checked(dataset) is dataset
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
  ("task", "names", "y", "message"),
  [
    ("regression", "ab", NUMBERS.astype(np.float64), r"targets are float64; they must be float32, y\.astype"),
    ("regression", "ab", NUMBERS.astype(np.int32), "targets are int32; they must be float32"),
    ("regression", "ab", NUMBERS[:, :1], r"targets have shape \[4, 1\]; they must be numbers \[N,T\], T of a, b"),
    ("regression", "a", NUMBERS[:, 0], r"targets have shape \[4\]; they must be \[N,1\]: y\[:, None\]"),
    ("regression", "ab", but(NUMBERS, (2, 1), np.nan), r"b of (2\.png|test example 2) is nan; it must be finite"),
    ("regression", "ab", but(NUMBERS, (3, 0), -np.inf), r"a of (3\.png|test example 3) is -inf; it must be finite"),
    ("multilabel", "ab", FLAGS > 0, r"targets are bool; they must be uint8, y\.astype\(np\.uint8\)"),
    ("multilabel", "abc", FLAGS, r"targets have shape \[4, 2\]; they must be 0 and 1 \[N,K\], K of a, b, c"),
    ("multilabel", "ab", but(FLAGS, (1, 1), 2), r"b of (1\.png|test example 1) is 2; it must be 0 or 1"),
    ("segmentation", "abc", MASKS.astype(np.int32), "targets are int32; they must be uint8"),
    ("segmentation", "abc", MASKS[:, :, :7], r"shape \[4, 6, 7\]; they must be masks .* size, 6x8"),
    ("segmentation", "abc", MASKS[..., None], r"shape \[4, 6, 8, 1\]; they must be masks"),
    ("segmentation", "abc", but(MASKS, (3, 5, 7), 3), r"mask of (3\.png|test example 3) holds 3, .* 0\.\.2, nor 255"),
    ("segmentation", "abc", but(MASKS, (0, 0, 0), 254), r"the mask of (0\.png|test example 0) holds 254"),
    ("detection", "ab", BOXES.astype(np.float64), "targets are float64; they must be float32"),
    ("detection", "ab", BOXES[:, 0], r"shape \[4, 5\]; they must be boxes \[N,M,5\], M >= 1"),
    ("detection", "ab", BOXES[:, :0], r"shape \[4, 0, 5\]; they must be boxes"),
    ("detection", "ab", BOXES[..., :4], r"shape \[4, 2, 4\]; they must be boxes"),
    ("detection", "a", BOXES, r"box 1 of (0\.png|test example 0) is \[1, 1, 2, 3, 4\] .* must be 0\.\.0, or -1"),
    ("detection", "ab", but(BOXES, (2, 1, 0), 0.5), r"box 1 of (2\.png|test example 2) .* its class must be"),
    ("detection", "ab", but(BOXES, (2, 1, 0), -2), "its class must be"),
    ("detection", "ab", but(BOXES, (2, 0, 3), 6.5), r"box 0 of (2\.png|test example 2) .* inside the image, 6x8"),
    ("detection", "ab", but(BOXES, (2, 0, 4), 9), "it must be inside the image"),
    ("detection", "ab", but(BOXES, (2, 0, 1), -1), "it must be inside the image"),
    ("detection", "ab", but(BOXES, (2, 0, 2), -1), "it must be inside the image"),
    ("detection", "ab", but(BOXES, (2, 1, 3), 1), "its bottom must be below its top"),
    ("detection", "ab", but(BOXES, (2, 1, 4), 1), "its right beyond its left"),
    ("detection", "ab", but(BOXES, (3, 1, 2), np.nan), r"box 1 of (3\.png|test example 3) .* numbers must be finite"),
    ("detection", "ab", but(BOXES, (slice(None), slice(None), 0), -1), r"the (train|test) split has no boxes"),
  ],
)  # fmt: skip
def test_what_breaks_a_rule(monkeypatch, task, names, y, message, part):
  """In either split, whose name or file is told; masks are looked at in pieces."""
  monkeypatch.setattr(target_rules, "_PIECE", 2)
  right = {"regression": NUMBERS, "multilabel": FLAGS, "segmentation": MASKS, "detection": BOXES}[task]
  if part == "test" and (task, names) in (("regression", "a"), ("multilabel", "abc"), ("detection", "a")):
    return  # training breaks it first
  refused(made(task, names, *((y, right) if part == "train" else (right, y))), message)


def test_training_must_have_something_to_learn():
  refused(made("regression", "ab", but(NUMBERS, (0, 1), 8)), "b is 8 in all of train; nothing can be learnt of it")
  checked(made("regression", "ab", NUMBERS, NUMBERS[[1] * 4]))  # as the test split may be
  refused(made("multilabel", "ab", but(FLAGS, (slice(None), 1), 0)), "no training example is of the class 'b'")
  checked(made("multilabel", "ab", FLAGS, FLAGS * 0))
  refused(made("segmentation", "abc", MASKS * 0), "the masks of train hold a only; at least two classes are needed")
  refused(made("segmentation", "abc", np.where(MASKS == 2, 2, 255).astype(np.uint8)), "masks of train hold c only")
  refused(made("segmentation", "abc", MASKS * 0 + 255), "hold ignored pixels only")


def test_classes_of_test_that_training_never_shows_are_told(capsys):
  def told(*given, **how):
    checked(made(*given), **how)
    return capsys.readouterr().err

  masks, boxes = np.where(MASKS == 2, 0, MASKS).astype(np.uint8), np.where(BOXES == 1, 0, BOXES)
  boxes[..., 1:] = BOXES[..., 1:]
  assert told("segmentation", "abc", masks, MASKS) == "warning: mine: of test, c never occurs in train\n"
  assert told("segmentation", "abc", MASKS, masks) == ""
  assert told("detection", "ab", boxes, BOXES) == "warning: mine: of test, b never occurs in train\n"
  assert told("detection", "ab", BOXES, boxes) == ""
  assert told("detection", "ab", boxes, BOXES, tell=False) == ""


def test_masks_and_boxes_are_held_to_their_images_as_these_are_before_they_are_resized():
  for task, names, y in (("segmentation", "abc", MASKS), ("detection", "ab", BOXES)):
    checked(made(task, names, y), image_size=3)
