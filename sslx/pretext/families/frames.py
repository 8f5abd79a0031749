"""What methods on the frames of a recording share: encoders that make them, and which of them are recording."""

import math

import jax.numpy as jnp

from sslx import nn
from sslx.ops.sound import is_sound
from sslx.types import Array, Refusal


def check(method: str, encoder: nn.Encoder, waves: bool) -> None:
  """Raises Refusal for an encoder whose last block is not a context of the frames before it, or that normalises over
  the batch, so that frames see what follows.

  waves: whether the frames may be made of the waveform; else they are those of a spectrogram.
  """
  suitable = "mel+gru or wave" if waves else "mel+gru"
  if encoder.block_names[-1] != "context" or encoder.share is None or not (waves or encoder.front):
    raise Refusal(f"--method={method}: needs an encoder with a context of what was heard; use --encoder={suitable}.")
  if encoder.batch_norm:
    raise Refusal(f"--method={method}: batch normalisation lets frames see each other; use --encoder={suitable}.")


def recorded(encoder: nn.Encoder, x: Array, t: int) -> Array:
  """Prepared waveforms [B,T] -> bool [B,t]: which of the t frames of the encoder's context are recording, not padding.

  Those of a spectrogram whose middle is in it, or of which a part is so where several were pooled, since they hear
  silence beyond its end; of convolutions on waveforms those that lie in it as a whole, since their first layers' places
  beyond its end are not silent to the later ones.
  """
  if encoder.front:
    sound = is_sound(encoder.spectrogram(x))
    return sound[:, :: -(-sound.shape[1] // t)]
  hop = math.prod(block(parent=None).stride for _, block in encoder.blocks[:-1])  # type: ignore[attr-defined]
  whole = is_sound(x)[:, hop - 1 :: hop]
  return jnp.pad(whole, ((0, 0), (0, -(-x.shape[1] // hop) - whole.shape[1])))
