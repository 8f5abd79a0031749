"""VICReg: embeddings of two views are alike, every dimension varies, and dimensions do not covary.

    L = invariance s(z1, z2) + variance [v(z1) + v(z2)] + covariance [c(z1) + c(z2)]

s: mean squared difference; v: hinge of the standard deviations at 1; c: squared covariances off the diagonal over the
width. Bardes, Ponce, LeCun: VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning,
ICLR 2022, arXiv 2105.04906. Deviations: a smaller projector (theirs 8192 wide); views as in `simclr`.

This is the paper's equation. The authors' code takes the mean of v(z1) and v(z2) instead of their sum (and the sum of
the covariances, as here), so that the published weights 25, 25, 1 mean --hp=variance=12.5 here: that is what they were
chosen with. The default is 25, the paper's number in the paper's equation. Which is better depends on the data: with
100 labels and frozen, 12.5 against 25 is +0.3 points [-0.5, +1.2] on MNIST, +1.7 [-2.2, +5.6] on Fashion-MNIST and -1.8
[-2.7, -0.8] on CIFAR-10 (JPEG; conv of 32-64-128), each 7,000 images, the default steps, one pretraining, 5 subsets.
"""

from sslx import losses, nn
from sslx.pretext.families import checks
from sslx.pretext.families.twins import joint
from sslx.types import Pretext


def vicreg(
  encoder: nn.Encoder,
  *,
  invariance: float = 25.0,
  variance: float = 25.0,
  covariance: float = 1.0,
  projector: tuple[int, ...] = (256, 256),
  views: str = "auto",
) -> Pretext:
  """Variance, invariance and covariance of two views' embeddings; the weights are the paper's.

  views: as in simclr.
  """
  checks.positive(invariance=invariance, variance=variance, covariance=covariance)
  return joint(encoder, projector, True, views, lambda z1, z2: losses.vicreg(z1, z2, invariance, variance, covariance))
