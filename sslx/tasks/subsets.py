"""Which images keep their labels, and folds among them: pure functions of the labels and a seed."""

import heapq
from collections.abc import Iterable, Sequence

import numpy as np

from sslx.types import Subset, UserError


def label_subsets(
  labels: np.ndarray, sizes: Iterable[int], seed: int, how: Subset = "balanced"
) -> dict[int, np.ndarray]:
  """Nested, seeded subsets with every class in them.

  One order of all images is drawn, and a subset is a beginning of it, so the 100 are inside the 600.

  Balanced: the order is drawn in rounds, and each round takes one image of every class that has any left, the classes
  in an order drawn anew. Class counts differ by at most one, which classes are one ahead is up to the seed, and a class
  too rare for its share gives all it has while the others make up the number.

  Stratified: each class in proportion to its frequency in `labels`, but at least one image of each. Of m labels the
  share of a class with n of N images is m n / N. Its count is that share, rounded up or down, once the share of each of
  the K classes of m - K labels is at least one. As long as this does not hold for u of them, which have an image before
  it is their turn, the count is below m n / N + 1 and above (m - u) n / N - 1.

  Args:
    labels: int[N], the class of each image; classes are the values that occur.
    sizes: how many labels each subset holds.
    seed: of the draw; the subsets do not depend on which other sizes are asked for.
    how: balanced or stratified.

  Returns:
    {size: i32[size] indices into `labels`}, in the order drawn: `subsets[600][:100]` is `subsets[100]`.

  Raises:
    UserError: a size that is not positive, smaller than the number of classes, or larger than N; an unknown `how`.
  """
  if how not in ("balanced", "stratified"):
    raise UserError(f"--subset={how}: expected balanced or stratified.")
  labels, sizes = np.asarray(labels), tuple(sizes)
  classes = np.unique(labels)
  for size in sizes:
    if size <= 0:
      raise UserError(f"a subset of {size} labels: the number must be positive")
    if size < len(classes):
      raise UserError(f"a subset of {size} labels for {len(classes)} classes: ask for at least one label per class")
    if size > len(labels):
      there = f"there are only {len(labels)} labelled training images"
      raise UserError(f"a subset of {size} labels: {there}; ask for at most so many, or for all")
  rng = np.random.default_rng(seed)
  shuffled = [rng.permutation(np.flatnonzero(labels == value)) for value in classes]
  if how == "balanced":
    turn = np.empty(len(labels), np.int64)  # the round that takes an image: its place in the shuffle of its class
    for members in shuffled:
      turn[members] = np.arange(len(members))
    order = np.lexsort((rng.random(len(labels)), turn)).astype(np.int32)  # by round, within a round at random
  else:
    turns = _in_proportion([len(members) for members in shuffled], max(sizes, default=0), rng)
    order = np.empty(len(turns), np.int32)
    for turn, members in enumerate(shuffled):
      order[turns == turn] = members[: (turns == turn).sum()]
  return {int(size): order[:size] for size in sizes}


QUANTILES = 10  # equal parts of the numbers, from each of which a balanced subset takes as many


def number_subsets(y: np.ndarray, sizes: Iterable[int], seed: int, how: Subset = "balanced") -> dict[int, np.ndarray]:
  """As `label_subsets` of numbers f32 [N,T]: balanced over the QUANTILES of the first of them, stratified as they come.

  Raises:
    UserError: a size that is not positive or larger than N; an unknown `how`.
  """
  if how == "stratified":
    return example_subsets(y, sizes, seed, how)
  rank = np.argsort(np.argsort(y[:, 0], kind="stable"), kind="stable")
  return _subsets(_rounds(rank * QUANTILES // max(1, len(y)), seed), len(y), sizes, how)


def multilabel_subsets(y: np.ndarray, sizes: Iterable[int], seed: int, how: Subset = "balanced"):
  """As `label_subsets` of classes u8 [N,K] of which any number may be there: balanced over the rarest class that an
  example has, so that rare ones come early; stratified as they come.

  Raises:
    UserError: a size that is not positive or larger than N; an unknown `how`.
  """
  if how == "stratified":
    return example_subsets(y, sizes, seed, how)
  rarity = np.where(y > 0, (y > 0).sum(0), len(y) + 1)
  rarest = np.where(y.any(1), rarity.argmin(1), y.shape[1])
  return _subsets(_rounds(rarest, seed), len(y), sizes, how)


def example_subsets(y: np.ndarray, sizes: Iterable[int], seed: int, how: Subset = "balanced") -> dict[int, np.ndarray]:
  """Nested, seeded subsets of whole examples, as they come.

  Raises:
    UserError: a size that is not positive or larger than N; an unknown `how`.
  """
  order = np.random.default_rng(seed).permutation(len(y)).astype(np.int32)
  return _subsets(order, len(y), sizes, how)


def _subsets(order: np.ndarray, n: int, sizes: Iterable[int], how: Subset) -> dict[int, np.ndarray]:
  if how not in ("balanced", "stratified"):
    raise UserError(f"--subset={how}: expected balanced or stratified.")
  sizes = tuple(sizes)
  for size in sizes:
    if not 0 < size <= n:
      raise UserError(
        f"a subset of {size} labels: there are {n} labelled training examples; ask for at most so many, or for all"
      )
  return {int(size): order[:size] for size in sizes}


def _rounds(groups: np.ndarray, seed: int) -> np.ndarray:
  """An order i32[N] of all examples in rounds, each of which takes one of every group that has any left."""
  rng = np.random.default_rng(seed)
  turn = np.empty(len(groups), np.int64)
  for group in np.unique(groups):
    members = rng.permutation(np.flatnonzero(groups == group))
    turn[members] = np.arange(len(members))
  return np.lexsort((rng.random(len(groups)), turn)).astype(np.int32)


def random_folds(y: np.ndarray, k: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
  """Cross-validation folds of whole examples; as many as there are examples where these are fewer than k.

  Returns:
    Up to k pairs (train, valid) of i32 indices into `y`, sorted; the valid parts are a partition of them.

  Raises:
    ValueError: k < 2, or a single example.
  """
  if k < 2 or len(y) < 2:
    raise ValueError("cross-validation needs two parts, and two examples")
  fold = np.empty(len(y), np.int64)
  fold[np.random.default_rng(seed).permutation(len(y))] = np.arange(len(y)) % min(k, len(y))
  parts = range(min(k, len(y)))
  return [(np.flatnonzero(fold != i).astype(np.int32), np.flatnonzero(fold == i).astype(np.int32)) for i in parts]


def _in_proportion(counts: Sequence[int], length: int, rng: np.random.Generator) -> np.ndarray:
  """Whose turn it is, i64[length]: of the first m, class c has m counts[c] / sum(counts), rounded up or down, but that
  each class has a turn before any has its second.

  The quota method of Balinski & Young ("The quota method of apportionment", 1975), which gives seats to states one by
  one: of the classes that are below their share of one image more, the one whose next image is due first. Its counts
  are the shares rounded up or down, for every m. The first turns of all classes are then moved to the beginning.
  """
  total, taken, turns = sum(counts), [0] * len(counts), []
  waiting, due = [(0, c) for c in range(len(counts))], []  # (the m above which its share is not met, class)
  for m in range(1, length + 1):
    while waiting and waiting[0][0] < m:
      c = heapq.heappop(waiting)[1]
      heapq.heappush(due, ((taken[c] + 1) / counts[c], rng.random(), c))
    c = heapq.heappop(due)[2]
    taken[c] += 1
    turns.append(c)
    if taken[c] < counts[c]:
      heapq.heappush(waiting, (taken[c] * total // counts[c], c))
  firsts = np.unique(turns, return_index=True)[1]
  return np.concatenate([np.arange(len(counts)), np.delete(np.array(turns, np.int64), firsts)])[:length]


def group_folds(groups: np.ndarray, k: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
  """Cross-validation folds of whole groups, i32 [N]: what is judged is of groups that nothing was fitted on.

  Returns:
    Up to k pairs (train, valid) of i32 indices, as many as there are groups where these are fewer than k; none where
    all examples are of one group.
  """
  names, of = np.unique(groups, return_inverse=True)
  if len(names) < 2:
    return []
  fold = np.empty(len(names), np.int64)
  fold[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % min(k, len(names))
  parts, fold = range(min(k, len(names))), fold[of]
  return [(np.flatnonzero(fold != i).astype(np.int32), np.flatnonzero(fold == i).astype(np.int32)) for i in parts]


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
