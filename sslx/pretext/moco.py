"""MoCo: tell an image's other view from thousands of images in a queue, embedded by a slowly moving copy.

    L = -log exp(q . k / T) / (exp(q . k / T) + sum over the queue of exp(q . k_j / T))
    key parameters: xi <- m xi + (1 - m) theta after every step

He, Fan, Wu, Xie, Girshick: Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020,
arXiv 1911.05722 (v1: one linear layer after the encoder); Chen, Fan, Girshick, He: Improved Baselines with Momentum
Contrastive Learning, 2020, arXiv 2003.04297 (v2: an MLP, more augmentation). The queue takes the new keys after the
logits, so no key is its own negative. It starts as random unit vectors, which are easy to tell apart: the loss rises
while it fills. Deviations: no shuffling of batch normalisation, as on one device queries and keys are normalised apart
anyway; views as in `simclr`.
"""

from typing import Literal

import jax

from sslx import losses, nn
from sslx.pretext.families import averages, checks, common
from sslx.pretext.families.twins import View, follow, twins, with_target
from sslx.types import Array, Batch, Params, Pretext, State


def moco(
  encoder: nn.Encoder,
  *,
  version: Literal["v1", "v2"] = "v2",
  temperature: float = 0.1,
  momentum: float = 0.99,
  queue: int = 4096,
  projector: tuple[int, ...] = (256, 128),
  views: str = "auto",
) -> Pretext:
  """Momentum contrast. The defaults are those of the authors' CIFAR notebook.

  version: v1 has the last layer of `projector` only.
  momentum, queue: m, and how many keys are remembered.
  views: as in simclr.
  """
  checks.positive(temperature=temperature)
  checks.widths(projector=projector)
  checks.averages(momentum=momentum)
  checks.at_least_one(queue=queue)
  base = twins(encoder, projector if version == "v2" else projector[-1:], False, views)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "base", "queue")
    params, state = base.init(keys["base"], batch)
    first = losses.normalised(jax.random.normal(keys["queue"], (queue, projector[-1])))
    return params, {**with_target(params, state), "queue": first}

  def loss(params: Params, state: State, key: Array, view: View):
    target, remembered = state["target"], state["queue"]
    q, state = base.embed(params, state, view["view1"])
    k, moved = base.embed(target["params"], target["state"], view["view2"])
    value = losses.info_nce(q, k, remembered, temperature)
    remembered = averages.enqueue(remembered, losses.normalised(k))
    state = {**state, "target": {**target, "state": moved}, "queue": remembered}
    return value, (state, losses.spread(q, k))

  def update(params: Params, state: State, step: Array) -> State:
    return follow(params, state, momentum)

  return Pretext(init, loss, base.transform, update, base.show, views=base.views)
