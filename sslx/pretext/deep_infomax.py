"""Deep InfoMax: a summary of an image that tells its own places from those of other images, and looks like noise.

    L = alpha L_pairs(T_G(map, y)) + beta L_pairs(T_L(place of map, y)) + gamma softplus(-D_sg(s(y)))
        + softplus(-D(u)) + softplus(D(sg(s(y))))
    y = h(f(x)),  s = sigmoid,  u uniform on [0, 1)^d,  T(m, y) = a(m) . b(y)

L_pairs is `losses.pair_jsd` or `losses.pair_nce`: real pairs against those of all other images of the batch. f and h
learn from the first three terms, as D_sg is D with its parameters stopped, D from the last two. A term whose weight is
0 has no networks; without gamma there is no D.

Hjelm, Fedorov, Lavoie-Marchildon, Grewal, Bachman, Trischler, Bengio: Learning Deep Representations by Mutual
Information Estimation and Maximization, ICLR 2019, arXiv 1808.06670: equations 4 to 8, with the score a . b that its
appendix calls encode-and-dot. Deviations: narrower networks (theirs 2048 wide, D 1000-200) without normalisation; h is
a head, and probes read f; y goes through the sigmoid for D only, and fools it by the non-saturating loss. InfoNCE as in
the equations: at each place among the images of the batch; the authors' code takes negatives from all their places.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from sslx import losses, nn, options
from sslx.pretext.families import checks, common
from sslx.types import Array, Batch, Params, Pretext, State, UserError

ESTIMATORS = {"jsd": losses.pair_jsd, "infonce": losses.pair_nce}


def deep_infomax(
  encoder: nn.Encoder,
  *,
  alpha: float = 0.0,
  beta: float = 1.0,
  gamma: float = 0.1,
  estimator: Literal["jsd", "infonce"] = "infonce",
  local: str = "",
  summary: tuple[int, ...] = (256, 64),
  score: tuple[int, ...] = (128, 64),
  discriminator: tuple[int, ...] = (256, 64),
  discriminator_rate: float = 0.1,
) -> Pretext:
  """Deep InfoMax; DIM(L) by default, DIM(G) is alpha=1, beta=0, gamma=1.

  alpha, beta, gamma: weights of the global, the local and the prior term.
  estimator: jsd learnt the pairs less well in short runs on MNIST.
  local: the block whose output is the map; empty: the last one with places, or else the last one, as one place.
  summary: widths of h on the last block; score: of a and b; discriminator: of D, before its logit.
  discriminator_rate: D's learning rate as a multiple of the others'.
  """
  for name, value in {"alpha": alpha, "beta": beta, "gamma": gamma}.items():
    if not 0 <= value < float("inf"):
      raise UserError(f"--hp={name}={value:g}: must be at least 0.")
  if alpha == beta == 0:
    raise UserError("--hp=beta=0: with alpha=0 nothing is learnt about the images; set one of them.")
  if not discriminator_rate > 0:
    raise UserError(f"--hp=discriminator_rate={discriminator_rate:g}: must be positive.")
  if local and local not in encoder.block_names:
    raise UserError(f"--hp=local={local}: this encoder has no such block.{options.nearest(local, encoder.block_names)}")
  checks.widths(summary=summary, score=score, discriminator=discriminator)
  h, embed, judge = nn.Projector(summary), nn.Shortcut(score), nn.Projector((*discriminator, 1))
  weights = {name: weight for name, weight in {"global": alpha, "local": beta}.items() if weight}

  def places(outputs: dict[str, Array], term: str) -> Array:
    """The map's places [B,P,C]; for the global term all of it is one."""
    spatial = [x for x in outputs.values() if x.ndim == 4]
    x = outputs[local] if local else spatial[-1] if spatial else common.last(outputs)
    return x.reshape(len(x), 1, -1) if term == "global" or x.ndim == 2 else x.reshape(len(x), -1, x.shape[-1])

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "summary", "discriminator", "global", "local")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    params = {"encoder": params, "summary": nn.init(h, keys["summary"], common.last(outputs))[0]}
    y = jnp.zeros((1, summary[-1]))
    for term in weights:
      a, b = jax.random.split(keys[term])
      params[term] = {"place": nn.init(embed, a, places(outputs, term))[0], "summary": nn.init(embed, b, y)[0]}
    if gamma:
      params["discriminator"] = nn.init(judge, keys["discriminator"], y)[0]
    return params, {"encoder": stats}

  def scores(params: Params, x: Array, y: Array) -> Array:
    """Places [B,P,C] and summaries [B,D] -> [B,P,B], of summary i with place p of image j."""
    a, b = nn.apply(embed, params["place"], {}, x)[0], nn.apply(embed, params["summary"], {}, y)[0]
    return (b @ a.swapaxes(0, 1).reshape(-1, a.shape[-1]).T).reshape(len(y), -1, len(y))

  def opinion(params: dict, y: Array) -> Array:
    return nn.apply(judge, params, {}, y)[0][:, 0]

  def loss(params: Params, state: State, key: Array, view: Batch):
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], view["x"], train=True)
    y, _ = nn.apply(h, params["summary"], {}, common.last(outputs))
    total, metrics = jnp.zeros(()), {}
    for term, weight in weights.items():
      pairs = scores(params[term], places(outputs, term), y)
      total += weight * ESTIMATORS[estimator](pairs)
      metrics[f"{term}_pair_accuracy"] = losses.accuracy(pairs, losses.pair_labels(pairs))
    if gamma:
      noise = jax.random.uniform(key, y.shape)
      fooled, judging, right = common.adversary(opinion, params["discriminator"], noise, jax.nn.sigmoid(y))
      total, metrics["discriminator_accuracy"] = total + gamma * fooled + judging, right
    return total, ({**state, "encoder": stats}, metrics)

  rates = {"discriminator": discriminator_rate} if gamma else None
  return Pretext(init, loss, common.as_is, common.no_update, rates=rates)
