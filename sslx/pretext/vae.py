"""Variational autoencoder: a code with a known distribution, so that new images can be drawn.

    L = (E_q(z|x) [-log p(x|z)] + beta * KL(q(z|x) || N(0, I))) / D,    q(z|x) = N(mean(x), exp(log_variance(x)))

Kingma, Welling: Auto-Encoding Variational Bayes, ICLR 2014, arXiv 1312.6114; beta: Higgins et al., beta-VAE: Learning
Basic Visual Concepts with a Constrained Variational Framework, ICLR 2017. One z is drawn for every image and step. As
in the whole family the loss is per pixel value: with D of them the bound is -D * L nats an image (beta = 1, loss bce).
With loss=mse, p is a Gaussian of variance 1/2 around the output.
"""

import math

import jax
import jax.numpy as jnp

from sslx import nn
from sslx.pretext.families import common
from sslx.pretext.families.autoencoder import Decoder, Widths, autoencoder
from sslx.types import Array, Batch, Params, Pretext, State, UserError


def kl(mean: Array, log_variance: Array) -> Array:
  """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, element by element (Kingma and Welling, appendix B)."""
  return (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance) / 2


def reparameterise(key: Array, mean: Array, log_variance: Array) -> Array:
  """A draw of N(mean, exp(log_variance)), differentiable in both."""
  return mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape, mean.dtype)


def vae(
  encoder: nn.Encoder,
  *,
  beta: float = 1.0,
  output: str = "sigmoid",
  loss: str = "bce",
  decoder: Decoder = "auto",
  decoder_widths: Widths = "auto",
) -> Pretext:
  """Autoencoder whose code is drawn from a posterior: its mean is the encoder's last block, and so are the features.

  The mean should be a linear code (--encoder=conv:code=32): that of a relu block cannot be negative. The log-variance
  is a dense layer on the block before the last (on the last where there is but one), and is dropped for probing.
  Sharper samples, but features worth less, come from the paper's dense layers: --encoder=mlp:widths=500-500,code=32
  --epochs=10.

  beta: weight of the KL; above 1 for a code that is closer to the prior, with units that vary more independently.
  """
  if not 0 <= beta < math.inf:
    raise UserError(f"--hp=beta={beta:g}: must be at least 0.")
  before = encoder.block_names[-2:][0]

  def log_variance_layer(outputs: dict[str, Array]) -> nn.Linear:
    return nn.Linear(math.prod(common.last(outputs).shape[1:]))

  def init_log_variance(key: Array, outputs: dict[str, Array]) -> dict:
    return nn.init(log_variance_layer(outputs), key, outputs[before])[0]

  def through(params: Params, state: State, key: Array, image: Array, outputs: dict[str, Array]):
    mean = common.last(outputs)
    log_variance, _ = nn.apply(log_variance_layer(outputs), params["log_variance"], {}, outputs[before])
    log_variance = log_variance.reshape(mean.shape)
    divergence = kl(mean, log_variance).sum() / len(mean)
    z = reparameterise(key, mean, log_variance)
    return z, beta / math.prod(image.shape[1:]) * divergence, {"kl": divergence}

  plain = autoencoder(encoder, output, loss, decoder, decoder_widths, through, {"log_variance": init_log_variance})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    """Besides originals and reconstructions (from the mean), images drawn from the prior."""
    assert plain.show
    assert plain.decode
    image = batch["x"]
    code = jax.eval_shape(
      lambda: common.last(nn.apply(encoder, params["encoder"], state["encoder"], jnp.zeros(image.shape))[0])
    )
    drawn = plain.decode(params, state, jax.random.normal(key, code.shape, code.dtype), image.shape[1:])
    return {**plain.show(params, state, key, batch), "sampled from the prior": drawn}

  return plain._replace(show=show)
