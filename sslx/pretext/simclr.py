"""SimCLR: two random views of an image attract, all other images of the batch repel.

    L = NT-Xent(g(f(view1)), g(f(view2))),  temperature tau

Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
arXiv 2002.05709. The projection head g is dropped for probing. Views of grey images are not the paper's: affine,
elastic and intensity changes instead of crops and colour (sslx/views.py).
"""

from sslx import losses, nn
from sslx.pretext.twins import check_positive, joint
from sslx.types import Pretext


def simclr(
  encoder: nn.Encoder,
  features: str = "flatten",
  *,
  temperature: float = 0.2,
  projector: tuple[int, ...] = (256, 128),
  views: str = "auto",
) -> Pretext:
  """Contrastive learning of two views.

  views: digits or photos with settings, such as digits:degrees=10,elastic=0 (sslx/views.py); auto goes by the colours.
  """
  check_positive(temperature=temperature)
  return joint(encoder, features, projector, False, views, lambda z1, z2: losses.nt_xent(z1, z2, temperature))
