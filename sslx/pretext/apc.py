"""Autoregressive predictive coding: from the spectrogram so far, predict the frame that comes n frames later.

    L = mean over frames t and bands of |x_(t+n) - (W c_t + b)|

Chung, Hsu, Tang, Glass: An Unsupervised Autoregressive Model for Speech Representation Learning, Interspeech 2019,
arXiv 1904.03240. x_t is a frame of the log-mel spectrogram, and c_t the encoder's last block, a recurrent context of
the frames up to t. Padding is never predicted. The paper tries n from 1 to 20. Frames are 32 ms long, one every 10 ms,
so that x_t and x_(t+n) share 22 ms for n = 1, 12 for 2 and 2 for 3: what has been heard of the frame that is predicted
need only be copied. The metric `copying` is the loss of x_t as the prediction. Deviations: smaller
networks, by default of one layer; a dense layer on each frame in front of them; 40 bands for 80; and a recording's
spectrogram is told in decibels below its loudest value, which may come later, where the paper normalises by speaker.
"""

from collections.abc import Mapping

import jax.numpy as jnp

from sslx import nn
from sslx.ops.sound import PAD, is_sound
from sslx.pretext.families import checks, common, frames
from sslx.types import Array, Batch, Params, Pretext, State, UserError


def apc(encoder: nn.Encoder, *, ahead: int = 3) -> Pretext:
  """Autoregressive predictive coding, for an encoder of a spectrogram with a context: --encoder=mel+gru.

  ahead: n, how many frames later, of 10 ms each. From 1 or 2 the near past can be copied, far ahead little is certain.
  """
  frames.check("apc", encoder, waves=False)
  checks.at_least_one(ahead=ahead)

  def head(spectrogram: Array) -> nn.Linear:
    return nn.Linear(spectrogram.shape[2])

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "head")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    net = head(encoder.spectrogram(batch["x"]))
    return {"encoder": params, "head": nn.init(net, keys["head"], common.last(outputs)[:, 0])[0]}, {"encoder": stats}

  def predict(params: Params, state: State, x: Array, train: bool) -> tuple[Array, Array, State]:
    """Waveforms [B,T] -> (spectrogram [B,t,bands], frames [B,t,bands] predicted from each of its frames, state)."""
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], x, train=train)
    spectrogram, c = outputs[encoder.block_names[0]], common.last(outputs)
    predicted = nn.apply(head(spectrogram), params["head"], {}, c.reshape(-1, c.shape[-1]))[0]
    return spectrogram[..., 0], predicted.reshape(spectrogram.shape[:3]), {**state, "encoder": stats}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    spectrogram, predicted, state = predict(params, state, view["x"], train=True)
    t, target = spectrogram.shape[1], spectrogram[:, ahead:]
    if t <= ahead:
      samples = view["x"].shape[1]
      raise UserError(f"--hp=ahead={ahead}: recordings of {samples} samples are {t} frames; predict a nearer one.")
    weight = is_sound(target)[..., None]

    def error(prediction: Array) -> Array:
      each = jnp.where(weight, jnp.abs(target - prediction[:, : target.shape[1]]), 0)
      return each.sum() / jnp.maximum(weight.sum() * target.shape[2], 1)

    return error(predicted), (state, {"copying": error(spectrogram)})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    """The first frames have no prediction."""
    spectrogram, predicted, _ = predict(params, state, batch["x"], train=False)
    late = jnp.pad(jnp.clip(predicted, 0, 1), ((0, 0), (ahead, 0), (0, 0)))[:, : spectrogram.shape[1]]
    late = jnp.where(is_sound(spectrogram)[..., None], late, PAD)
    return {"original": spectrogram[..., None], f"predicted {ahead} frames ahead": late[..., None]}

  return Pretext(init, loss, common.as_is, common.no_update, show)
