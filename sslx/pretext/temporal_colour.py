"""Temporal colour: a grey frame's colours are copied from another frame, from where the features point to.

    p_i = sum over j of A_ij c_j,    A_ij = exp(f_i . f_j / temperature) / sum over k of exp(f_i . f_k / temperature)
    L = -mean over i of log((1 - smooth) p_i[c_i] + smooth / clusters)

i are the places of a target frame, j and k those of its reference frames, f a place's features, of unit length, and c_j
the cluster of its colour, one-hot. Vondrick, Shrivastava, Fathi, Guadarrama, Murphy: Tracking Emerges by Colorizing
Videos, ECCV 2018, arXiv 1806.09594. To copy the right colour, the features have to point to where the same thing was:
tracking emerges, though nothing is tracked in training.

Deviations. The paper's features come from a 3D network over three references and the target; here each frame is encoded
by itself, and one reference is drawn, up to `gap` frames before or after the target. Each of the drawn frames is the
target once, with the others as its references. Features have unit length and a temperature, where the paper's have
neither in training. Colours are the mean ab of a place's cell. The paper finds its clusters before training; here the
first batches find them (`families.clusters`), after which they stay. `smooth` keeps the loss finite where the
references have no place of the right colour.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops import color
from sslx.ops.rows import interleave
from sslx.pretext.families import checks, clusters, common
from sslx.pretext.families.colour import cell_means, enlarge
from sslx.pretext.families.pointers import copied, pointers
from sslx.types import Array, Batch, Params, Pretext, Refusal, State, UserError

SETTLE = 100  # batches that move the clusters


def temporal_colour(
  encoder: nn.Encoder,
  *,
  references: int = 1,
  gap: int = 4,
  window: int = 0,
  temperature: float = 0.1,
  clusters: int = 16,
  strength: float = 0.0,
  smooth: float = 0.01,
) -> Pretext:
  """Colours of a frame of a clip, copied from other frames of it.

  references: frames that are copied from at once.
  gap: how many frames before or after the target they may be.
  window: so many places up, down, left and right of the same place may be copied from; 0: all.
  temperature: of the softmax over places: the lower, the fewer are copied from.
  clusters: kinds of colour.
  strength: how much contrast, brightness and noise of each grey frame are changed at random. On moving_digits, whose
    light does not change, even a little made tracking worse.
  smooth: share of the prediction that is uniform.
  """
  if not encoder.clips:
    raise Refusal("--method=temporal_colour: reads clips frame by frame; use --encoder=grid, for data of video.")
  checks.at_least_one(references=references, gap=gap)
  checks.positive(temperature=temperature)
  if window < 0:
    raise UserError(f"--hp=window={window}: a number of places, 0 for all of them.")
  if clusters < 2:
    raise UserError(f"--hp=clusters={clusters}: must be at least 2, or there is nothing to tell apart.")
  if not 0 <= strength <= 1:
    raise UserError(f"--hp=strength={strength:g}: must be in [0, 1].")
  if not 0 < smooth < 1:
    raise UserError(f"--hp=smooth={smooth:g}: must be in (0, 1).")
  return _pretext(encoder.body, references, gap, window, temperature, clusters, strength, smooth)


def _pretext(
  encoder: nn.Encoder,
  references: int,
  gap: int,
  window: int,
  temperature: float,
  number: int,
  strength: float,
  smooth: float,
) -> Pretext:
  """The method on an encoder of frames."""

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    x = _clips(batch["x"], references, gap)
    params, stats, outputs = common.init_encoder(encoder, key, color.grey(x[:, 0]))
    if (code := common.last(outputs)).ndim != 4:
      raise Refusal(
        f"--method=temporal_colour: needs features of places, and of this encoder a frame has {code.shape[1:]}; use "
        "--encoder=grid."
      )
    return {"encoder": params}, {"encoder": stats, "clusters": clusters.empty(number, 2)}

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    x = _clips(batch["x"], references, gap)
    keys = common.split(key, "frames", "grey")
    t = jax.vmap(lambda key: draw_frames(key, x.shape[1], references, gap))(jax.random.split(keys["frames"], len(x)))
    x = jnp.take_along_axis(x, t[:, :, None, None, None], axis=1)
    return {"x": change_grey(keys["grey"], color.grey(x), strength), "ab": color.rgb_to_lab(x)[..., 1:]}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    f, stats = features(encoder, params, state, view["x"], True)
    ab = cell_means(view["ab"], f.shape[2:4])
    seen = clusters.follow(state["clusters"], key, ab.reshape(-1, 2), SETTLE)
    kind = clusters.nearest(seen["centres"], ab)
    f, kind = each_once_first(f), each_once_first(kind)
    p = copied(pointers(f[:, 0], f[:, 1:], temperature, window), jax.nn.one_hot(kind[:, 1:], number))
    target = kind[:, 0].reshape(len(p), -1)
    right = jnp.take_along_axis(p, target[..., None], axis=-1)[..., 0]
    value = losses.mean(-jnp.log((1 - smooth) * right + smooth / number))
    metrics = {
      "accuracy": (p.argmax(-1) == target).mean(),
      "accuracy_same_place": (kind[:, :1] == kind[:, 1:]).mean(),
    }
    return value, ({**state, "encoder": stats, "clusters": seen}, metrics)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    x = batch["x"]
    b, t = x.shape[:2]
    f, _ = features(encoder, params, state, color.grey(x), False)
    lab = color.rgb_to_lab(x)
    ab = cell_means(lab[..., 1:], f.shape[2:4])
    size = f.shape[2:4]
    first = jnp.repeat(f[:, :1], t, axis=1).reshape(b * t, 1, *f.shape[2:])
    colours = jnp.repeat(ab[:, :1], t, axis=1).reshape(b * t, 1, *size, 2)
    guess = copied(pointers(f.reshape(b * t, *f.shape[2:]), first, temperature, window), colours)
    frames = x.reshape(b * t, *x.shape[2:])
    guess = enlarge(guess.reshape(b * t, *size, 2), frames).reshape(*x.shape[:-1], 2)
    return {
      "clip": x,
      "what it sees": color.grey(x),
      "copied colours": color.lab_to_rgb(jnp.concatenate([lab[..., :1], guess], axis=-1)),
      "copied from": jnp.repeat(x[:, :1], t, axis=1),
    }

  return Pretext(init, loss, transform, common.no_update, show)


def colour_accuracy(
  encoder: nn.Encoder,
  params: Params,
  state: State,
  x: Array,
  distance: int = 4,
  temperature: float = 0.1,
  window: int = 0,
) -> dict[str, Array]:
  """Shares of places whose cluster of colour is right, of prepared clips [B,T,H,W,3]: {name: f32 [B]}.

  copied: as the method predicts it, from the frame `distance` frames before. same_place: that of the same place there.
  most_frequent: each clip's own most frequent one. Of all frames that have a frame so far before them.
  """
  f, _ = features(encoder.body, params, state, color.grey(x), False)
  b = len(f)
  centres = state["clusters"]["centres"]
  kind = clusters.nearest(centres, cell_means(color.rgb_to_lab(x)[..., 1:], f.shape[2:4]))
  one_hot = jax.nn.one_hot(kind, len(centres))

  def pairs(values: Array) -> tuple[Array, Array]:
    """[B,T,...] -> those that are predicted, and those `distance` before: [B n,...] each."""
    after, before = values[:, distance:], values[:, :-distance]
    return after.reshape(-1, *values.shape[2:]), before.reshape(-1, *values.shape[2:])

  (f_after, f_before), (after, before) = pairs(f), pairs(kind)
  p = copied(pointers(f_after, f_before[:, None], temperature, window), pairs(one_hot)[1][:, None])
  frequency = one_hot[:, distance:].mean((1, 2, 3))

  def share(right: Array) -> Array:
    return right.reshape(b, -1).mean(-1)

  return {
    "copied": share(p.argmax(-1) == after.reshape(len(after), -1)),
    "same_place": share(after == before),
    "most_frequent": frequency.max(-1),
  }


def features(encoder: nn.Encoder, params: Params, state: State, x: Array, train: bool) -> tuple[Array, State]:
  """Frames [B,n,H,W,C] -> (unit features [B,n,h,w,D] of their places, batch statistics after)."""
  frames = x.reshape(-1, *x.shape[2:])
  outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], frames, train=train)
  code = common.last(outputs)
  return losses.normalised(code).reshape(*x.shape[:2], *code.shape[1:]), stats


def draw_frames(key: Array, t: int, references: int, gap: int) -> Array:
  """i32 [1 + references]: a target frame of t, then different frames at most `gap` frames from it, all alike likely."""
  keys = jax.random.split(key)
  target = jax.random.randint(keys[0], (), 0, t)
  distance = jnp.abs(jnp.arange(t) - target)
  noise = jax.random.gumbel(keys[1], (t,))
  _, others = jax.lax.top_k(jnp.where((distance >= 1) & (distance <= gap), noise, -jnp.inf), references)
  return jnp.concatenate([target[None], others])


def each_once_first(values: Array) -> Array:
  """[B,n,...] -> [B n,n,...]: the frames of each clip turned round, so that each of them is the target once."""
  return interleave(*(jnp.roll(values, -i, axis=1) for i in range(values.shape[1])))


def change_grey(key: Array, x: Array, strength: float) -> Array:
  """Grey frames [B,n,H,W,C] with another contrast (a factor of 1 +- strength), brightness (+- strength / 2) and noise
  (a standard deviation of up to strength / 4), drawn for each frame; all channels alike. Not clipped.
  """
  if not strength:
    return x
  keys = common.split(key, "contrast", "shift", "level", "noise")
  shape = (*x.shape[:2], 1, 1, 1)
  contrast = 1 + strength * jax.random.uniform(keys["contrast"], shape, minval=-1, maxval=1)
  shift = strength / 2 * jax.random.uniform(keys["shift"], shape, minval=-1, maxval=1)
  level = strength / 4 * jax.random.uniform(keys["level"], shape)
  return (x - 0.5) * contrast + 0.5 + shift + level * jax.random.normal(keys["noise"], (*x.shape[:-1], 1))


def _clips(x: Array, references: int, gap: int) -> Array:
  """The clips as they are. Raises Refusal where they have no colours, and UserError where they are too short."""
  if x.ndim != 5 or x.shape[-1] != 3:
    raise Refusal(f"--method=temporal_colour: needs clips in colour [T,H,W,3], and these are {x.shape[1:]}.")
  if references > (most := min(gap, x.shape[1] - 1)):
    limit = "gap" if gap == most else f"for clips of {x.shape[1]} frames"
    raise UserError(f"--hp=references={references}: at most {most}, {limit}.")
  return x
