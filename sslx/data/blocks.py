"""Numbers of rows that are read as one (`LazyArray.blocks`): what is left of them in a part, and in two arrays."""

import numpy as np


def of_rows(blocks: tuple[int, ...], rows: np.ndarray) -> tuple[int, ...]:
  """How many of `rows`, i[K], lie in each block, without those of none; () where the rows do not ascend, so that blocks
  would mix.
  """
  if not blocks or np.any(rows[1:] < rows[:-1]):
    return ()
  left = np.diff(np.searchsorted(rows, np.cumsum(blocks)), prepend=0)
  return tuple(left[left > 0].tolist())


def of_both(first: tuple[int, ...], n: int, second: tuple[int, ...], m: int) -> tuple[int, ...]:
  """The blocks of n rows and m rows behind them. Rows that are read by themselves, which have none, are laid into
  blocks as large as the largest of the others.
  """
  size = max((*first, *second), default=0)
  return (first or _even(n, size)) + (second or _even(m, size)) if size else ()


def _even(n: int, size: int) -> tuple[int, ...]:
  whole, rest = divmod(n, size)
  return (size,) * whole + (rest,) * (rest > 0)
