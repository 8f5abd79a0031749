"""DINO: say of one view what a slowly moving copy of the network says of the other, as probabilities over prototypes.

    L = [H(P'(view1), P(view2)) + H(P'(view2), P(view1))] / 2
    P = softmax(z C^T / T),  P' = softmax((z' C'^T - c) / T'),  z, the rows of C unit vectors, z' and C' the teacher's
    centre: c <- m c + (1 - m) mean(z' C'^T);  teacher parameters: xi <- lambda xi + (1 - lambda) theta after every step

Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin: Emerging Properties in Self-Supervised Vision Transformers,
ICCV 2021, arXiv 2104.14294. Nothing but the teacher's low temperature T' and the centre, that of the batches before,
keeps the outputs from collapsing: sharpening works against the uniform distribution,
centring against a single prototype.
Deviations: no multi-crop (local views); T' and m are constant, lambda too unless `ramp` gives it steps; the last layer
trains from the first step on; a smaller head, whose hidden layers have batch
normalisation and relu; views as in `simclr`.
"""

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.pretext.families import averages, checks
from sslx.pretext.families.twins import ROLES, View, follow, prototypes_on, twins, with_target
from sslx.types import Array, Batch, Params, Pretext, State


def dino(
  encoder: nn.Encoder,
  *,
  prototypes: int = 256,
  temperature: float = 0.1,
  teacher_temperature: float = 0.04,
  momentum: float = 0.99,
  ramp: int = 0,
  center_momentum: float = 0.9,
  projector: tuple[int, ...] = (256, 128),
  views: str = "auto",
) -> Pretext:
  """Self-distillation with no labels.

  prototypes: outputs K; temperature, teacher_temperature: T and T'.
  momentum: lambda, the teacher's; ramp: steps over which it rises to 1 along a cosine, 0 for a constant.
  center_momentum: m.
  views: as in simclr.
  """
  checks.positive(temperature=temperature, teacher_temperature=teacher_temperature)
  checks.averages(ramp, momentum=momentum, center_momentum=center_momentum)
  base = twins(encoder, projector, True, views)
  c = prototypes_on(base, prototypes, projector[-1])

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    params, state = c.init(key, batch)
    return params, {**with_target(params, state, (*ROLES, "prototypes")), "center": jnp.zeros(prototypes)}

  def loss(params: Params, state: State, key: Array, view: View):
    target, center = state["target"], state["center"]
    z1, z2, state = base.project(params, state, view)
    t1, t2, moved = base.project(target["params"], target["state"], view)
    s1, s2 = c.score(params, z1, z2)
    teacher1, teacher2 = c.score(target["params"], t1, t2)
    q1, q2 = (jax.nn.softmax((scores - center) / teacher_temperature) for scores in (teacher1, teacher2))
    value = losses.swapped(q1, q2, s1 / temperature, s2 / temperature)
    center = averages.ema(center, (teacher1 + teacher2).mean(axis=0) / 2, center_momentum)
    metrics = {
      "prototypes_used": losses.perplexity(q1.mean(axis=0)),  # 1: all images the same one
      "teacher_perplexity": losses.perplexity(q1).mean(),  # K: says nothing of any image
    }
    state = {**state, "target": {**target, "state": moved}, "center": center}
    return value, (state, {**losses.spread(z1, z2), **metrics})

  def update(params: Params, state: State, step: Array) -> State:
    return follow(params, state, averages.rising(momentum, step, ramp))

  return Pretext(init, loss, base.transform, update, base.show, views=base.views)
