"""SimSiam: predict the embedding of one view from that of the other, without negatives and without a target network.

    L = D(h(z1), sg(z2)) / 2 + D(h(z2), sg(z1)) / 2,  D(p, z) = 2 - 2 cos(p, z),  z = g(f(view))

Chen, He: Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv 2011.10566. Theirs is -cos, ours BYOL's
scale of the same: 0 where the views agree. Deviations: no batch normalisation of the
projector's output; views as in `simclr`.
"""

import jax

from sslx import losses, nn
from sslx.pretext.families import common
from sslx.pretext.families.twins import View, predictor_on, twins
from sslx.types import Array, Params, Pretext, State


def simsiam(
  encoder: nn.Encoder,
  *,
  projector: tuple[int, ...] = (256, 128),
  predictor: tuple[int, ...] = (64,),
  views: str = "auto",
) -> Pretext:
  """Siamese prediction with a stopped gradient.

  predictor: widths of h's hidden layers, a bottleneck.
  views: as in simclr.
  """
  base = twins(encoder, projector, True, views)
  h = predictor_on(base, predictor, projector[-1])

  def loss(params: Params, state: State, key: Array, view: View):
    z1, z2, state = base.project(params, state, view)
    p1, p2, state = h.predict(params, state, z1, z2)
    stop = jax.lax.stop_gradient
    value = (losses.cosine_distance(p1, stop(z2)) + losses.cosine_distance(p2, stop(z1))) / 2
    return value, (state, losses.spread(z1, z2))

  return Pretext(h.init, loss, base.transform, common.no_update, base.show, views=base.views)
