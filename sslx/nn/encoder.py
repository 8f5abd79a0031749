"""An encoder: a sequence of named blocks. Features can be read after any block, and `last:K` counts blocks."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import flax.linen as nn

from sslx.nn.features import read
from sslx.types import Array, Precision, folded


def _run(block: Any, x: Array, *kept: Array, train: bool) -> Array:
  """A block of an encoder, as a function that flax can wrap."""
  return block(x, *kept, train=train)


class Encoder(nn.Module):
  """Named blocks, one after the other."""

  blocks: tuple[tuple[str, Callable[..., nn.Module]], ...]
  """(name, factory of a module that maps (x, train: bool) to the block's output)"""
  any_size: bool = False
  """Whether its parameters fit images of any height and width, and not only those it was initialised for."""
  axes: int | None = 3
  """How many axes an example has that it reads: 3 of an image [H,W,C]; None: any."""
  patch: int | None = None
  """Height and width of a token's patch, where the first block makes tokens and takes `keep`."""
  batch_norm: bool = False
  """Whether what it makes of an image in training depends on the others of the batch: batch normalisation."""
  front: bool = False
  """Whether its first block makes something else of the signal, without any parameters: of a waveform a spectrogram, of
  a text a bag of words."""
  clips: bool = False
  """Whether it reads clips [B,T,H,W,C], frame by frame: outputs are then [B,T,...], and `body` reads frames."""
  ids: bool = False
  """Whether it reads ids of words, i32 [B,T]."""
  share: Callable[[Array], Array] | None = None
  """(x [B,...]) -> f32 [B]: how much of each example, along its first axis of places, is signal; the rest is padding.
  None: all of it."""
  precision: Precision = "float32"
  """What `nn.apply` computes its convolutions, dense layers and attention in; all that
  enters or leaves it is float32."""
  remat: bool = False
  """Whether what a block computes inside is computed again for its gradient, not kept: only outputs of blocks are."""
  spec: str = ""
  """The text that `nn.rebuild` makes it of; empty where nobody gave it one."""

  @nn.compact
  def __call__(self, x: Array, keep: Array | None = None, train: bool | tuple[str, ...] = False) -> dict[str, Array]:
    """Prepared x [B,...], such as float images [B,H,W,C] -> the output of every block by name, in order. Unused ones
    cost nothing under jit.

    keep: i32[B,n], the only patches that an encoder with `patch` sees; its outputs are then [B,n,D].
    """
    outputs = {}
    frames = x.shape[:2] if self.clips else ()
    x = x.reshape(-1, *x.shape[2:]) if self.clips else x
    for i, (name, factory) in enumerate(self.blocks):
      kept = (keep,) if i == 0 and keep is not None else ()
      x = x if i == 0 or self.precision == "float32" else x.astype(self.precision)
      how = train if isinstance(train, bool) else name in train
      run = functools.partial(_run, train=how)
      x = (nn.remat(run) if self.remat else run)(factory(name=name), x, *kept)
      outputs[name] = x.reshape(*frames, *x.shape[1:]) if self.clips else x
    return outputs

  @property
  def body(self) -> "Encoder":
    """What comes behind its front, of clips what reads their frames: the same where it has none. Their parameters are
    the same.
    """
    axes = self.axes - 1 if self.clips and self.axes else None
    behind = {"blocks": self.blocks[1:], "spec": ""}
    return self.clone(**behind, front=False, axes=axes, ids=False, clips=False) if self.front else self

  @nn.nowrap
  def spectrogram(self, x: Array) -> Array:
    """What its body reads, of x that it reads itself: of a waveform [B,T] a spectrogram, of a text a bag of words,
    else x as it is."""
    if not self.front:
      return x
    front: Any = self.blocks[0][1](parent=None)
    return front.apply({}, x)

  @nn.nowrap
  def waveform(self, x: Array) -> Array:
    """What sounds like x, a spectrogram that `spectrogram` made or something made of one; a waveform as it is."""
    if not self.front or x.ndim == 2:
      return x
    front: Any = self.blocks[0][1](parent=None)
    return front.waveform(x)

  @nn.nowrap
  def read(self, outputs: Mapping[str, Array], reading: str, x: Array) -> Array:
    """The features that `reading` names, of the outputs for x: see `sslx.nn.features.read`.

    Or of the outputs of its body alone, for the spectrogram x.
    """
    if self.front:
      front = self.blocks[0][0]
      outputs = {front: x, **outputs}
      x = outputs[front]
    return read(outputs, reading, x.shape[1:-1], None if self.share is None else self.share(x))

  if TYPE_CHECKING:

    def __hash__(self) -> int: ...  # flax modules have one, though their type does not say so

  def __repr__(self) -> str:
    precision = "" if self.precision == "float32" else f"; {self.precision}"
    return folded(f"Encoder({', '.join(self.block_names)}{precision})")

  @property
  def block_names(self) -> tuple[str, ...]:
    """Names of the blocks, first to last."""
    return tuple(name for name, _ in self.blocks)
