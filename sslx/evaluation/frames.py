"""Features of the frames of videos, for tracking: what an encoder says of each place, or a patch of pixels about it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx import losses, nn
from sslx.compile import jit
from sslx.data.lazy import Rows
from sslx.evaluation.features import extract
from sslx.modalities import MODALITIES
from sslx.ops import color
from sslx.types import Array, Refusal

AT_ONCE = 32  # frames
WIDE = 1024  # pixels: a size whose ratio to that of a block's map tells the stride exactly


def stride_of(body: nn.Encoder, block: str) -> int:
  """How many pixels apart the places of a block's map are. Only shapes are computed.

  Raises:
    Refusal: the block has no map.
  """
  key, x = jax.eval_shape(jax.random.key, 0), jax.ShapeDtypeStruct((1, WIDE, WIDE, 3), jnp.float32)
  plain = body.clone(blocks=body.blocks[: body.block_names.index(block) + 1], precision="float32")
  outputs, _ = jax.eval_shape(lambda key, x: plain.init_with_output(key, x), key, x)
  shape = outputs[block].shape
  if len(shape) != 4:
    raise Refusal(f"--features={block}: has no map of places, along which masks are tracked; try --encoder=grid.")
  return round(WIDE / shape[1])


def frame_features(
  body: nn.Encoder, params: dict[str, Any], stats: dict[str, Any], frames: Rows, block: str, colours: bool = False
) -> np.ndarray:
  """The map of a block for each frame u8 [T,H,W,3], f32 [T,h,w,D] of unit length at every place.

  body: an encoder of frames, see `sslx.nn.Encoder.body`; colours: it sees them, and not the grey of their lightness.

  Raises:
    Refusal: the block has no map.
  """
  stride_of(body, block)
  function = _reader(body, block, colours)
  return extract(lambda x: function(params, stats, x), frames, min(len(frames), AT_ONCE))


@functools.lru_cache(maxsize=16)
def _reader(body: nn.Encoder, block: str, colours: bool) -> Callable[[dict, dict, Array], Array]:
  plain = body.clone(blocks=body.blocks[: body.block_names.index(block) + 1], precision="float32")

  def features(params: dict, stats: dict, frames: Array) -> Array:
    x = MODALITIES["video"].prepare(frames)
    return losses.normalised(nn.apply(plain, params, stats, x if colours else color.grey(x))[0][block])

  return jit(features)


@functools.cache
def _pixels(colours: bool) -> Callable[[Array], Array]:
  """Frames u8 [B,H,W,3] -> f32 [B,H,W,3], or their grey [B,H,W,1]."""
  prepare = MODALITIES["video"].prepare
  return jit(lambda frames: prepare(frames) if colours else color.grey(prepare(frames))[..., :1])


def patches(frames: Rows, size: int, stride: int, colours: bool = False) -> np.ndarray:
  """The size x size pixels about the middle of each cell of stride x stride, of frames u8 [T,H,W,3]: f32 [T,h,w,D].

  Values are the grey of each pixel's lightness in [0, 1], or with `colours` its three channels, divided so that a
  squared distance between two patches is the mean over their values. Where a patch ends outside of the frame, the
  nearest pixel is repeated. The two sizes are both even or both odd.
  """
  assert (size - stride) % 2 == 0, (size, stride)
  x = extract(_pixels(colours), frames, min(len(frames), AT_ONCE))
  cells = [-(-n // stride) for n in x.shape[1:3]]
  before = (size - stride) // 2  # negative where patches are smaller than cells
  x = x[:, max(-before, 0) :, max(-before, 0) :]
  beyond = [(max(before, 0), n * stride + size) for n in cells]
  x = np.pad(x, [(0, 0), *beyond, (0, 0)], mode="edge")
  windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
  windows = windows[:, ::stride, ::stride][:, : cells[0], : cells[1]]
  return windows.reshape(len(x), *cells, -1) / np.float32(np.sqrt(windows[0, 0, 0].size))
