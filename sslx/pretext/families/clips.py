"""How methods of images learn from video: a step sees one random frame of each clip, or two where the views are of
frames that lie apart.
"""

import jax
import jax.numpy as jnp

from sslx.modalities import views
from sslx.types import Array, Batch, Params, Pretext, State, View


def by_frames(pretext: Pretext) -> Pretext:
  """A method of images [B,H,W,C] as one of clips [B,T,H,W,C].

  Its parameters are the same, since the encoder of a clip is that of its frames.
  """
  pairs = pretext.views is not None and views.are_of_frames(pretext.views)

  def middle(batch: Batch) -> Batch:
    x = batch["x"]
    return {**batch, "x": x[:, x.shape[1] // 2]}

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    return pretext.init(key, middle(batch))

  def transform(key: Array, batch: Batch) -> View:
    if pairs:
      return pretext.transform(key, batch)
    frame_key, key = jax.random.split(key)
    return pretext.transform(key, {**batch, "x": one_frame(frame_key, batch["x"])})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    assert pretext.show
    rows = pretext.show(params, state, key, batch if pairs else middle(batch))
    return {title: row[:, row.shape[1] // 2] if row.ndim == 5 else row for title, row in rows.items()}

  def decode(params: Params, state: State, code: Array, shape: tuple[int, ...]) -> Array:
    assert pretext.decode
    frames = pretext.decode(params, state, code.reshape(-1, *code.shape[2:]), shape[1:])
    return frames.reshape(*code.shape[:2], *frames.shape[1:])

  return pretext._replace(
    init=init,
    transform=transform,
    show=show if pretext.show else None,
    decode=decode if pretext.decode else None,
  )


def one_frame(key: Array, clips: Array) -> Array:
  """Clips [B,T,...] -> a random frame of each, [B,...]."""
  at = jax.random.randint(key, (len(clips),), 0, clips.shape[1])
  return clips[jnp.arange(len(clips)), at]
