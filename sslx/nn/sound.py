"""Blocks that read sound: a log-mel front, strided convolutions on the waveform, and a recurrent context."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx.nn.layers import Conv, Dense
from sslx.ops import sound
from sslx.types import Array

TINY = 1e-12  # in a normalisation: recordings may be very quiet


class LogMel(nn.Module):
  """A log-mel spectrogram, see `sslx.ops.sound.log_mel`; no parameters."""

  rate: int
  bands: int
  size: int
  hop: int
  depth: float

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """Prepared waveforms [B,T] -> [B,ceil(T/hop),bands,1] in [0, 1], PAD behind the end."""
    return sound.log_mel(x, self.rate, self.bands, self.size, self.hop, self.depth)[..., None]

  @nn.nowrap
  def waveform(self, x: Array) -> Array:
    """Its outputs [B,t,bands,1], perhaps changed -> waveforms [B,t*hop] that sound like them, PAD behind the end."""
    return sound.griffin_lim(x[..., 0], self.rate, self.size, self.hop, self.depth)


class WaveBlock(nn.Module):
  """A strided convolution along time that looks back only, normalised over the channels of each frame by itself, relu.

  Place i of its output knows the input up to place (i + 1) * stride - 1.
  """

  width: int
  kernel: int
  stride: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,T] or [B,T,C] -> [B,ceil(T/stride),width]."""
    if x.ndim == 2:
      x = jnp.where(sound.is_sound(x), x, 0)[..., None]
    t, k, s = x.shape[1], self.kernel, self.stride
    pads = (k - s, -t % s)  # a frame that is not full ends in silence
    x = Conv(self.width, (1, k), strides=(1, s), padding=((0, 0), pads), use_bias=False, name="conv")(x[:, None])[:, 0]
    return nn.relu(nn.LayerNorm(epsilon=TINY, name="norm")(x))


class TimeBlock(nn.Module):
  """Optional pooling of two frames to their larger values, a convolution along time over all bands at once, relu.

  Frames of padding are silence to it and come out as padding, so that how much of it there is changes nothing. There is
  no normalisation: over time it would hear the padding (and on random features of spoken digits by six unknown speakers
  it was worth less: ridge, one network, 82.0 without, 81.2 over groups of channels, 80.8 in each frame).
  """

  width: int
  kernel: int
  pool: bool = True
  back: bool = False
  """Whether it looks back only: place i then knows the input up to frame i, or 2 i + 1 with pooling."""

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,t,...] -> [B,t,width], or ceil(t/2) places with pooling."""
    x = x.reshape(*x.shape[:2], -1)
    if self.pool:
      x = jnp.maximum(x[:, ::2], jnp.pad(x[:, 1::2], ((0, 0), (0, x.shape[1] % 2), (0, 0)), constant_values=sound.PAD))
    around = ((0, 0), (self.kernel - 1, 0)) if self.back else "SAME"
    y = Conv(self.width, (1, self.kernel), padding=around, name="conv")(jnp.maximum(x, 0)[:, None])[:, 0]
    return jnp.where(sound.is_sound(x)[..., None], nn.relu(y), sound.PAD)


class FrameBlock(nn.Module):
  """A dense layer on each frame by itself, normalised, relu."""

  width: int

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,t,...] -> [B,t,width]."""
    x = Dense(self.width, name="dense")(jnp.maximum(x, 0).reshape(*x.shape[:2], -1))
    return nn.relu(nn.LayerNorm(name="norm")(x))


class GruBlock(nn.Module):
  """Gated recurrent units along time: what has been heard up to each place. `depth` layers, each after the first added
  to what it reads.
  """

  width: int
  depth: int = 1

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,t,D] -> [B,t,width]."""
    for i in range(self.depth):
      y: Any = nn.RNN(nn.GRUCell(self.width, name=f"gru{i + 1}"))(x)
      x = x + y if i else y
    return x
