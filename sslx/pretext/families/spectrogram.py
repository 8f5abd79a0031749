"""How methods of images learn from sound: what they see are spectrograms, and nothing else of them changes."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sslx import nn
from sslx.ops.sound import PAD, is_sound
from sslx.types import Array, Batch, Params, Pretext, State, View


def on_spectrograms(encoder: nn.Encoder, pretext: Pretext) -> Pretext:
  """A method that was built for the body of `encoder`, which has a front, as one for the whole of it.

  Its parameters are the same, since a front has none. Frames of padding stay PAD whatever `transform` does, and have no
  weight in a loss that weights places by view["weight"].
  """

  def heard(batch: Batch) -> Batch:
    return {**batch, "x": encoder.spectrogram(batch["x"])}

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    return pretext.init(key, heard(batch))

  def transform(key: Array, batch: Batch) -> View:
    batch = heard(batch)
    view, sound = pretext.transform(key, batch), is_sound(batch["x"])[..., None, None]
    if not isinstance(view, Mapping):
      raise TypeError("on_spectrograms: the method's transform must give a mapping with x")
    weight = view.get("weight", jnp.ones(())) * sound / sound.mean()
    return {**view, "x": jnp.where(sound, view["x"], PAD), "weight": weight}

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    assert pretext.show
    batch = heard(batch)
    sound = is_sound(batch["x"])[..., None, None]
    rows = pretext.show(params, state, key, batch)
    return {title: jnp.where(sound, row, PAD) for title, row in rows.items()}

  def decode(params: Params, state: State, code: Array, shape: tuple[int, ...]) -> Array:
    assert pretext.decode
    spectrum = jax.eval_shape(encoder.spectrogram, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    return pretext.decode(params, state, code, spectrum.shape[1:])

  return pretext._replace(
    init=init, transform=transform, show=show if pretext.show else None, decode=decode if pretext.decode else None
  )
