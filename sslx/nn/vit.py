"""Blocks of a Vision Transformer, whose tokens keep their place in a grid: [B,h,w,D], or [B,n,D] where few are kept.

Dosovitskiy et al.: An Image is Worth 16x16 Words, ICLR 2021, arXiv 2010.11929. Deviations: no class token (features are
read off the grid, as off a convolution's maps), fixed sine and cosine positions (as in MAE, arXiv 2111.06377), so
that the encoder takes images of any size. Their wave lengths end at LONGEST instead of 20,000 pi: small images have few
patches, over which slower waves hardly change, and a masked autoencoder learnt more slowly from those.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sslx.nn.layers import Dense
from sslx.ops.patches import patchify
from sslx.types import Array

LONGEST = 30 * 2 * np.pi  # wave length of the slowest position, in patches


def positions(rows: int, columns: int, width: int) -> np.ndarray:
  """Sine and cosine of each place's row and column at width / 4 frequencies: f32 [rows, columns, width].

  width: a multiple of 4. Quarters: sin(row), cos(row), sin(column), cos(column); wave lengths from 2 pi to LONGEST.
  """
  omega = (LONGEST / (2 * np.pi)) ** -(np.arange(width // 4) / (width // 4))
  row = np.broadcast_to((np.arange(rows)[:, None] * omega)[:, None], (rows, columns, width // 4))
  column = np.broadcast_to(np.arange(columns)[:, None] * omega, (rows, columns, width // 4))
  return np.concatenate([np.sin(row), np.cos(row), np.sin(column), np.cos(column)], axis=-1).astype(np.float32)


class PatchEmbed(nn.Module):
  """Patches of an image, each through one dense layer, plus their positions."""

  width: int
  patch: int

  @nn.compact
  def __call__(self, x: Array, keep: Array | None = None, train: bool = False) -> Array:
    """[B,H,W,C] -> [B,h,w,width]; with keep i32[B,n], indices into the h*w patches, only those: [B,n,width]."""
    patches = patchify(x, self.patch)
    b, rows, columns, values = patches.shape
    place = jnp.asarray(positions(rows, columns, self.width))
    if keep is not None:  # before the dense layer: hidden patches are never computed with
      patches = jnp.take_along_axis(patches.reshape(b, -1, values), keep[..., None], axis=1)
      place = place.reshape(-1, self.width)[keep]
    return Dense(self.width)(patches) + place


class TransformerBlock(nn.Module):
  """Pre-norm self-attention and a dense layer of `ratio` times the width with gelu, each added to its input."""

  heads: int
  ratio: int = 4
  final: bool = False  # a last layer norm, as after the last block of a ViT
  padded: bool = False  # whether a place whose vector is 0 is padding: nothing attends to it, and it stays 0

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """[B,...,D] -> the same shape; every token attends to every other."""
    shape, width = x.shape, x.shape[-1]
    there = (x != 0).any(-1, keepdims=True) if self.padded else None
    seen = None if there is None else there.reshape(shape[0], 1, 1, -1)
    x = x.reshape(-1, width)  # a dense layer's gradient on [B,n,D] takes twice as long on the CPU
    qkv = Dense(3 * width, name="qkv")(nn.LayerNorm(name="norm1")(x)).astype(x.dtype)
    q, k, v = jnp.split(qkv.reshape(shape[0], -1, 3 * self.heads, width // self.heads), 3, axis=2)
    attended = jax.nn.dot_product_attention(q, k, v, mask=seen).reshape(x.shape)
    x = x + Dense(width, name="out")(attended)
    hidden = nn.gelu(Dense(self.ratio * width, name="mlp1")(nn.LayerNorm(name="norm2")(x)))
    x = x + Dense(width, name="mlp2")(hidden)
    x = nn.LayerNorm(name="norm")(x) if self.final else x
    x = x.reshape(shape)
    return x if there is None else jnp.where(there, x, 0)


class MaskedDecoder(nn.Module):
  """Predicts hidden patches from the tokens of visible ones (He et al. 2022, arXiv 2111.06377): one shared mask token
  for each hidden patch, positions for all, then `depth` blocks of `width` units and a linear layer to a patch's values.
  """

  grid: tuple[int, int]
  values: int
  width: int = 32
  depth: int = 1
  heads: int = 2

  @nn.compact
  def __call__(self, z: Array, order: Array, train: bool = False) -> Array:
    """Tokens [B,n,D] of the places order[:, :n], order i32[B,N] -> [B,N-n,values] for the places order[:, n:]."""
    b, n, _ = z.shape
    mask = jnp.asarray(self.param("mask", nn.initializers.normal(0.02), (self.width,)))
    masks = jnp.broadcast_to(mask, (b, order.shape[1] - n, self.width))
    place = jnp.asarray(positions(*self.grid, self.width).reshape(-1, self.width))[order]
    x = jnp.concatenate([nn.Dense(self.width)(z), masks], axis=1) + place
    for i in range(self.depth):
      x = TransformerBlock(self.heads, final=i + 1 == self.depth, name=f"block{i + 1}")(x)
    return nn.Dense(self.values, name="pixels")(x[:, n:])
