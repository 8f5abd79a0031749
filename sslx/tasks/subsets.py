"""Which images keep their labels, and folds among them: pure functions of the labels and a seed."""

from collections.abc import Iterable

import numpy as np

from sslx.types import UserError


def label_subsets(labels: np.ndarray, sizes: Iterable[int], seed: int) -> dict[int, np.ndarray]:
  """Class-balanced, nested, seeded subsets.

  One order of all images is drawn, in rounds: each round takes one image of every class that has any left, the classes
  in an order drawn anew. A subset is a beginning of that order, so the 100 are inside the 600, class counts differ by
  at most one, which classes are one ahead is up to the seed, and a class too rare for its share gives all it has
  while the others make up the number.

  Args:
    labels: int[N], the class of each image; classes are the values that occur.
    sizes: how many labels each subset holds.
    seed: of the draw; the subsets do not depend on which other sizes are asked for.

  Returns:
    {size: i32[size] indices into `labels`}, in the order drawn: `subsets[600][:100]` is `subsets[100]`.

  Raises:
    UserError: a size that is not positive, smaller than the number of classes, or larger than N.
  """
  labels, sizes = np.asarray(labels), tuple(sizes)
  classes = np.unique(labels)
  for size in sizes:
    if size <= 0:
      raise UserError(f"a subset of {size} labels: the number must be positive")
    if size < len(classes):
      raise UserError(f"a subset of {size} labels for {len(classes)} classes: ask for at least one label per class")
    if size > len(labels):
      raise UserError(f"a subset of {size} labels: there are only {len(labels)} labelled training images")
  rng = np.random.default_rng(seed)
  turn = np.empty(len(labels), np.int64)  # the round that takes an image: its place in a shuffle of its class
  for value in classes:
    members = rng.permutation(np.flatnonzero(labels == value))
    turn[members] = np.arange(len(members))
  order = np.lexsort((rng.random(len(labels)), turn)).astype(np.int32)  # by round, within a round at random
  return {int(size): order[:size] for size in sizes}


def stratified_folds(labels: np.ndarray, k: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
  """Cross-validation folds in which every class is in every train part.

  Each class is shuffled and dealt out over the folds, every class going on where the one before stopped, so that fold
  sizes differ by at most one. If the rarest class has fewer than `k` members, `k` becomes that number.

  Args:
    labels: int[N].
    k: folds wanted, at least 2.
    seed: of the draw.

  Returns:
    Up to k pairs (train, valid) of i32 indices into `labels`, sorted; the valid parts are a partition of them.

  Raises:
    ValueError: k < 2, or a class with a single member: no fold could keep it in both parts, so tune elsewhere.
  """
  labels = np.asarray(labels)
  classes, counts = np.unique(labels, return_counts=True)
  if k < 2:
    raise ValueError(f"k must be at least 2, not {k}")
  if not len(labels) or counts.min() < 2:
    raise ValueError("cross-validation needs at least two labels of every class")
  k = min(k, int(counts.min()))
  rng = np.random.default_rng(seed)
  dealt = np.concatenate([rng.permutation(np.flatnonzero(labels == value)) for value in classes])
  fold = np.empty(len(labels), np.int64)
  fold[dealt] = np.arange(len(labels)) % k
  return [(np.flatnonzero(fold != i).astype(np.int32), np.flatnonzero(fold == i).astype(np.int32)) for i in range(k)]
