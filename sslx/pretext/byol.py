"""BYOL: predict what a slowly moving copy of the network makes of another view; no negatives.

    L = D(h(z1), z2') / 2 + D(h(z2), z1') / 2,  D(p, z) = 2 - 2 cos(p, z),  z = g(f(view))
    target parameters: xi <- tau xi + (1 - tau) theta after every step

Grill et al.: Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS 2020, arXiv 2006.07733.
Theirs is twice as large (a sum over both directions). z' is the target's embedding, in training mode as in the paper.
Deviations: one set of views for both sides (`simclr`'s), smaller heads; tau is constant unless `ramp` gives it steps.
"""

from sslx import losses, nn
from sslx.pretext.families import averages, checks
from sslx.pretext.families.twins import View, follow, predictor_on, twins, with_target
from sslx.types import Array, Batch, Params, Pretext, State


def byol(
  encoder: nn.Encoder,
  *,
  tau: float = 0.99,
  ramp: int = 0,
  projector: tuple[int, ...] = (256, 128),
  predictor: tuple[int, ...] = (256,),
  views: str = "auto",
) -> Pretext:
  """Bootstrap of one's own latent.

  tau: the target's momentum; ramp: steps over which it rises to 1 along a cosine, 0 for a constant.
  predictor: widths of h's hidden layers.
  views: as in simclr.
  """
  checks.averages(ramp, tau=tau)
  base = twins(encoder, projector, True, views)
  h = predictor_on(base, predictor, projector[-1])

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    params, state = h.init(key, batch)
    return params, with_target(params, state)

  def loss(params: Params, state: State, key: Array, view: View):
    target = state["target"]
    z1, z2, state = base.project(params, state, view)
    p1, p2, state = h.predict(params, state, z1, z2)
    t1, t2, moved = base.project(target["params"], target["state"], view)
    value = (losses.cosine_distance(p1, t2) + losses.cosine_distance(p2, t1)) / 2
    return value, ({**state, "target": {**target, "state": moved}}, losses.spread(z1, z2))

  def update(params: Params, state: State, step: Array) -> State:
    return follow(params, state, averages.rising(tau, step, ramp))

  return Pretext(init, loss, base.transform, update, base.show, views=base.views)
