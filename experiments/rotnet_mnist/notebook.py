"""The notebook that `experiments.rotnet_mnist` repeats: images, network, training, errors, published figures."""

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sslx.evaluation.recipe import Recipe
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.data import Dataset
  from sslx.types import Array, Batch, Pretext, View

METHOD, ENCODER, LATE, RAW_PIXELS = "rotation", "rotnet", "one row late", "rotnet:scale=255"
UNLABELLED, LABELLED, TESTED = 10_000, 1_000, 300
TRAINING = {  # of the notebook; a batch of 48 images is 192 turned ones
  "epochs": 50.0, "batch_size": 48, "learning_rate": 1e-3, "optimizer": "adamw", "warmup_epochs": 0.0,
  "pretraining_weight_decay": 0.0, "watch": 0,
}  # fmt: skip
LETTER_MODES = ("raw", "random", "scratch", "frozen")
RERUN = {"frozen": (0.854, 0.913, 0.878), "scratch": (0.880, 0.877, 0.880)}  # by seed, on the whole test split
PARAMETERS = {  # published: what the tables have to say
  "encoder": 19_104, "head for rotations": 4_884, "encoder and head for rotations": 23_988, "head for digits": 2_890,
  "encoder and head for digits": 21_994,
}  # fmt: skip


class Condition(NamedTuple):
  """The notebook with some of its errors."""

  late: bool = False
  shuffle: bool = True
  encoder: str = ENCODER


MENDED, AS_IT_RAN = "without errors", "as published"
ALL = Condition(True, False, RAW_PIXELS)
CONDITIONS = {
  MENDED: Condition(),
  "labels late": Condition(late=True),
  "in order": Condition(shuffle=False),
  "0..255": Condition(encoder=RAW_PIXELS),
  AS_IT_RAN: ALL,
}


class Portions(NamedTuple):
  """What the notebook makes of a data set."""

  unlabelled: "Dataset"
  """Its training split is the images that are pretrained on."""
  rest: "Dataset"
  """The training images after them."""
  labelled: int
  """How many of those, from the first on, the notebook has labels of."""
  tested: int
  """Test images in each of its two test sets."""


def portions(dataset: "Dataset") -> Portions:
  """The notebook's images of MNIST; of a smaller data set as many in proportion.

  Raises:
    UserError: the data set is too small for that.
  """
  from sslx.data import Split
  from sslx.data.lazy import take

  labelled = min(LABELLED, len(dataset.train) * LABELLED // (UNLABELLED + LABELLED))
  if labelled < 2 * dataset.task.outputs:
    raise UserError(f"--dataset={dataset.name}: {len(dataset.train)} training images are too few for this protocol.")
  first = labelled * UNLABELLED // LABELLED

  def part(rows: np.ndarray) -> "Dataset":
    split = Split(take(dataset.train.x, rows), dataset.train.targets()[rows])
    return dataclasses.replace(dataset, train=split, unlabeled=None)

  everything = np.arange(len(dataset.train))
  return Portions(part(everything[:first]), part(everything[first:]), labelled, min(TESTED, len(dataset.test) // 2))


def late(encoder: str) -> "Pretext":
  """Rotation prediction with the labels one row late. An image's four turns are neighbours, in the notebook and here:
  each has the label of the turn before, and the first that of the last.
  """
  import jax.numpy as jnp

  from sslx import nn
  from sslx.pretext.rotation import rotation

  plain = rotation(nn.build(encoder))

  def transform(key: "Array", batch: "Batch") -> "View":
    view = plain.transform(key, batch)
    return {**view, "label": jnp.roll(view["label"], 1)}

  return plain._replace(transform=transform)


def letter_recipe(shuffle: bool, epochs: float = 50.0) -> Recipe:
  """How the notebook trains on labels."""
  return Recipe(
    steps=1,
    epochs=epochs,
    batch_size=32,
    learning_rates=(1e-3,),
    weight_decay=0.0,
    optimizer="sgd",
    schedule="constant",
    shuffle=shuffle,
    patience=7,
    head="gradient",
  )


def parameters(dataset: "Dataset") -> dict[str, int]:
  """Numbers of parameters under the names of PARAMETERS, for a data set's images and classes. Nothing is computed."""
  import jax

  from sslx import nn
  from sslx.pretext.rotation import rotation
  from sslx.pretext.supervised import supervised
  from sslx.training import masks

  batch = {"x": np.zeros((1, *dataset.x_shape), np.float32), "y": np.zeros(1, np.int32)}

  def counts(pretext: "Pretext") -> tuple[int, int]:
    params = jax.eval_shape(pretext.init, jax.random.key(0), batch)[0]
    return masks.count(params["encoder"]), masks.count(params["head"])

  encoder = nn.build(ENCODER)
  (below, turns), (_, digits) = counts(rotation(encoder)), counts(supervised(encoder, dataset.task))
  return dict(zip(PARAMETERS, (below, turns, below + turns, digits, below + digits), strict=True))
