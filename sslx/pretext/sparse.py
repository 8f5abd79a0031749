"""Sparse autoencoder: every unit of the code is active for few images.

    L = loss(decoder(h), x) + weight / D * sum over units j of KL(rho || mean activity of j in the batch)
    L = loss(decoder(h), x) + weight / D * mean over images of sum_j |h_j|        (penalty=l1)

Ng: Sparse autoencoder, CS294A lecture notes, Stanford 2011 (KL); Olshausen, Field: Emergence of simple-cell receptive
field properties by learning a sparse code for natural images, Nature 1996 (the cost |h|). There the reconstruction
error is summed over the D pixel values, here it is their mean: hence 1 / D, and `weight` means what it means there.
The mean activity is the batch's instead of the training set's, the loss cross-entropy instead of squares, and AdamW
replaces L-BFGS.
"""

import math
from typing import Literal

import jax.numpy as jnp

from sslx import nn
from sslx.pretext.families import common
from sslx.pretext.families.autoencoder import Decoder, Widths, autoencoder
from sslx.types import Array, Params, Pretext, State, UserError

ACTIVE = 0.1  # activity above which an activation is counted as active
WEIGHT = {"kl": 3.0, "l1": 0.5}


def bernoulli_kl(rho: float, activity: Array) -> Array:
  """KL(rho || activity) of two coins, element by element: 0 where they are equal. Finite for a dead unit."""
  q = jnp.clip(activity, 1e-6, 1 - 1e-6)
  return rho * jnp.log(rho / q) + (1 - rho) * jnp.log((1 - rho) / (1 - q))


def per_unit(activity: Array) -> Array:
  """Mean activity of every unit: [B,D] -> [D]; of a map over batch, height and width: [B,h,w,D] -> [D]."""
  return activity.reshape(-1, activity.shape[-1]).mean(0)


def sparse(
  encoder: nn.Encoder,
  *,
  penalty: Literal["kl", "l1"] = "kl",
  rho: float = 0.05,
  weight: float | None = None,
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Decoder = "auto",
  decoder_widths: Widths = "auto",
) -> Pretext:
  """Autoencoder with a penalty on the activity of the code: the output h of the encoder's last block.

  KL wants activities in (0, 1). A sigmoid layer (--encoder=mlp:widths=196,code=0,activation=sigmoid) gives them and is
  used as it is; of any other code the activity is tanh|h|: as |h| where that is small, one for a unit that is on, 0
  only for 0. A clip would do as well there, but a unit beyond 1 would get no gradient back; the slope of KL grows as
  fast as that of tanh falls, so that a unit that is on for every image is turned off again at any scale.

  rho: the activity that every unit should have on average (kl).
  weight: of the penalty; none: 3 for kl (Ng), 0.5 for l1, chosen on the last 10,000 training images of MNIST. l1 alone
    can be lowered by a code that is small and a decoder that is large: kl made the better features there.
  """
  if not 0 < rho < 1:
    raise UserError(f"--hp=rho={rho:g}: must be in (0, 1), the mean activity of a unit.")
  scale = WEIGHT[penalty] if weight is None else weight
  if not 0 <= scale < math.inf:
    raise UserError(f"--hp=weight={scale:g}: must be at least 0.")
  in_unit_interval = getattr(encoder.blocks[-1][1](), "activation", "") == "sigmoid"

  def through(params: Params, state: State, key: Array, image: Array, outputs: dict[str, Array]):
    h = common.last(outputs)
    activity = h if in_unit_interval else jnp.tanh(jnp.abs(h))
    if penalty == "kl":
      cost = bernoulli_kl(rho, per_unit(activity)).sum()
    else:
      cost = jnp.abs(h).sum() / len(h)
    metrics = {"activity": activity.mean(), "active": (activity > ACTIVE).mean()}
    return h, scale / math.prod(image.shape[1:]) * cost, metrics

  return autoencoder(encoder, output, loss, decoder, decoder_widths, through)
