"""How methods of images learn from sound and text: what they see are spectrograms, or bags of words, and nothing else
of them changes.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sslx import nn
from sslx.ops.sound import PAD, is_sound
from sslx.types import Array, Batch, Params, Pretext, State, View


def behind(encoder: nn.Encoder, pretext: Pretext) -> Pretext:
  """A method that was built for the body of `encoder`, which has a front, as one for the whole of it.

  Its parameters are the same, since a front has none. Of spectrograms, frames of padding stay PAD whatever `transform`
  does, and have no weight in a loss that weights places by view["weight"]; bags of words have no padding.
  """

  def read(batch: Batch) -> Batch:
    return {**batch, "x": encoder.spectrogram(batch["x"])}

  def there(x: Array) -> Array:
    return jnp.ones(()) > 0 if encoder.ids else is_sound(x)[..., None, None]

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    return pretext.init(key, read(batch))

  def transform(key: Array, batch: Batch) -> View:
    batch = read(batch)
    view, sound = pretext.transform(key, batch), there(batch["x"])
    if not isinstance(view, Mapping):
      raise TypeError("behind: the method's transform must give a mapping with x")
    weight = view.get("weight", jnp.ones(())) * sound / sound.mean()
    return {**view, "x": jnp.where(sound, view["x"], PAD), "weight": weight}

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    assert pretext.show
    batch = read(batch)
    rows = pretext.show(params, state, key, batch)
    return {title: jnp.where(there(batch["x"]), row, PAD) for title, row in rows.items()}

  def decode(params: Params, state: State, code: Array, shape: tuple[int, ...]) -> Array:
    assert pretext.decode
    x = jax.ShapeDtypeStruct((1, *shape), jnp.int32 if encoder.ids else jnp.float32)
    return pretext.decode(params, state, code, jax.eval_shape(encoder.spectrogram, x).shape[1:])

  return pretext._replace(
    init=init, transform=transform, show=show if pretext.show else None, decode=decode if pretext.decode else None
  )
