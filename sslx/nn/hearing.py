"""Encoders of sound, and the fronts that let encoders of images hear."""

import functools
from collections.abc import Callable
from typing import Literal

import flax.linen as nn

from sslx.nn.encoder import Encoder
from sslx.nn.sound import FrameBlock, GruBlock, LogMel, TimeBlock, WaveBlock
from sslx.ops.sound import share

Front = Callable[..., nn.Module]  # the factory of a first block


def wave(*, rate: int = 8000, width: int = 96, context: int = 96, depth: int = 1) -> Encoder:
  """Strided convolutions on the waveform, a frame for every 10 ms, and a recurrent context: van den Oord et al.,
  Representation Learning with Contrastive Predictive Coding, 2018, arXiv 1807.03748, section 3.1, with fewer units.

  No frame knows what comes after it. rate: samples a second, of the data; width: units of the convolutions; context,
  depth: units and layers of the context.
  """
  strides = [5, 4, 2, 2] if rate <= 12_000 else [5, 4, 2, 2, 2] if rate <= 24_000 else [5, 4, 3, 2, 2, 2]
  make = functools.partial(WaveBlock, width)
  blocks = [(f"conv{i + 1}", functools.partial(make, kernel=2 * s, stride=s)) for i, s in enumerate(strides)]
  heard = ("context", functools.partial(GruBlock, context, depth))
  return Encoder((*blocks, heard), any_size=True, axes=1, share=share)


def conv1d(
  *,
  widths: tuple[int, ...] = (128, 256),
  kernel: tuple[int, ...] = (7,),
  down: Literal["pool", "none"] = "pool",
  context: int = 0,
) -> Encoder:
  """Convolutions along the time of a spectrogram, whose bands are channels. Each but the first halves the frames
  (rounded up) before, unless down=none. Behind a front: mel+conv1d.

  kernel: frames, of each block; the last one repeats.
  context: units of a recurrent context behind them, 0 for none; with one, convolutions look back only.
  """
  kernels = (*kernel, *[kernel[-1]] * len(widths))
  blocks = [
    (f"block{i + 1}", functools.partial(TimeBlock, w, kernels[i], down == "pool" and i > 0, context > 0))
    for i, w in enumerate(widths)
  ]
  return Encoder((*blocks, *([("context", functools.partial(GruBlock, context))] if context else [])))


def gru(*, width: int = 96, context: int = 96, depth: int = 1) -> Encoder:
  """A dense layer on each frame of a spectrogram, then `depth` layers of `context` gated recurrent units: what has been
  heard up to each frame. Behind a front: mel+gru.
  """
  frames, heard = functools.partial(FrameBlock, width), functools.partial(GruBlock, context, depth)
  return Encoder((("frames", frames), ("context", heard)))


def mel(
  *,
  rate: int = 8000,
  bands: int = 40,
  window: float = 32.0,
  hop: float = 10.0,
  depth: float = 60.0,
) -> Front:
  """A log-mel spectrogram of a waveform.

  rate: samples a second, of the data; bands: of the mel scale; window, hop: milliseconds of a frame, and between two;
  depth: decibels below a recording's loudest value at which silence begins.
  """
  size, every = max(2, round(rate * window / 1000)), max(1, round(rate * hop / 1000))
  return functools.partial(LogMel, rate, bands, size, every, depth)
