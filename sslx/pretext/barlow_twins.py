"""Barlow Twins: the embeddings of two views correlate in each dimension, and no two dimensions do.

    L = sum_i (1 - C_ii)^2 + off_diagonal sum_i sum_{j != i} C_ij^2,  C = cross-correlation of z1 and z2 over the batch

Zbontar, Jing, Misra, LeCun, Deny: Barlow Twins: Self-Supervised Learning via Redundancy Reduction, ICML 2021,
arXiv 2103.03230. Deviations: smaller projectors than theirs (8192 wide), whose loss grows with their width, so the sum
is divided by it; views as in `simclr`.
"""

from sslx import losses, nn
from sslx.pretext.families import checks
from sslx.pretext.families.twins import joint
from sslx.types import Pretext


def barlow_twins(
  encoder: nn.Encoder,
  *,
  off_diagonal: float = 0.02,
  projector: tuple[int, ...] = (256, 256),
  views: str = "auto",
) -> Pretext:
  """Redundancy reduction on two views.

  off_diagonal: weight of the correlations between dimensions (lambda).
  views: as in simclr.
  """
  checks.positive(off_diagonal=off_diagonal)
  width = projector[-1] if projector else 1
  return joint(encoder, projector, True, views, lambda z1, z2: losses.barlow_twins(z1, z2, off_diagonal) / width)
