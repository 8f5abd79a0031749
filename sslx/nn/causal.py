"""Networks on grids of vectors [B,r,c,D] that look at what lies above, to predict what lies below."""

from typing import Any

import flax.linen as nn

from sslx.nn.layers import Conv
from sslx.types import Array


class ConvContext(nn.Module):
  """Masked convolutions: at each place a context of its own row and the rows above (van den Oord et al.: Pixel
  Recurrent Neural Networks, ICML 2016, arXiv 1601.06759, who also hide what follows in the row itself).

  `depth` residual blocks (Henaff et al. 2020, arXiv 1905.09272, appendix), each of which reaches one row and two
  columns further. Their 1x3 and 2x1 kernels are one of 2x3 here.
  """

  width: int
  depth: int

  @nn.compact
  def __call__(self, z: Array, train: bool = False) -> Array:
    """[B,r,c,D] -> [B,r,c,D]."""
    for _ in range(self.depth):
      x = nn.relu(Conv(self.width, (1, 1))(z))
      x = nn.relu(Conv(self.width, (2, 3), padding=((1, 0), (1, 1)))(x))  # the row above and its own
      z = z + Conv(z.shape[-1], (1, 1))(x)
    return nn.relu(z)


class GruContext(nn.Module):
  """Gated recurrent units that go down each column and read three columns of each row; `depth` such layers."""

  width: int
  depth: int

  @nn.compact
  def __call__(self, z: Array, train: bool = False) -> Array:
    """[B,r,c,D] -> [B,r,c,width]."""
    for _ in range(self.depth):
      x = nn.relu(Conv(self.width, (1, 3))(z))
      columns: Any = nn.RNN(nn.GRUCell(self.width))(x.swapaxes(1, 2))
      z = columns.swapaxes(1, 2)  # [B,c,r,width]: columns beside the batch
    return z


class RowPredictor(nn.Module):
  """What lies k rows below, a linear map of the context for each k; zero at first,
  when everything is equally likely."""

  context: nn.Module
  """[B,r,c,D] -> [B,r,c,...], where a row depends on itself and those above."""
  first: int = 1
  last: int = 1
  """The k, 1 <= first <= last; as many of them, from the greatest on, as the grid has no
  rows for are left out. One stays."""
  width: int = 0
  """Of the predictions; 0: as of what they are made from."""

  @nn.compact
  def __call__(self, z: Array, train: bool = False) -> dict[int, Array]:
    """[B,r,c,D] with r > 1 -> {k: predictions [B,r-k,c,width] of rows k .. r-1}."""
    c, rows = self.context(z), z.shape[1]
    last = min(self.last, rows - 1)
    predictions = {}
    for k in range(min(self.first, last), last + 1):
      dense = nn.Dense(self.width or z.shape[-1], use_bias=False, kernel_init=nn.initializers.zeros, name=f"after{k}")
      seen = c[:, : rows - k]
      predictions[k] = dense(seen.reshape(-1, c.shape[-1])).reshape(*seen.shape[:3], -1)
    return predictions
