"""Random views of images, sounds and clips, by text: `build("photos:crop=0.3")`. VIEWS is the table of kinds, and
`auto` picks one.

A view is what contrastive and self-distilled methods call two random versions of an image. Every strength is an option;
at 0 (crop: 1) the operation is left out.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sslx import options
from sslx.ops import augment, photo, spectra, waves
from sslx.types import Array, UserError

View = Callable[[Array, Array], Array]
"""(key, images f32 [B,H,W,C] in [0, 1]) -> the same shape and range; or (key, prepared waveforms [B,T]) -> what an
encoder's body reads of them."""
Spectrogram = Callable[[Array], Array]
"""What an encoder makes of waveforms before its body reads them, see `Encoder.spectrogram`."""


def digits(
  *,
  degrees: float = 20.0,
  scale: float = 0.25,
  shift: float = 0.2,
  shear: float = 0.3,
  elastic: float = 1.0,
  contrast: float = 0.3,
  thickness: float = 0.0,
  erase: float = 0.0,
  background: float = 0.0,
) -> View:
  """For grey digits and garments.

  degrees, scale, shift, shear: ranges of the random affine map (see `augment.affine_grid`); elastic: standard deviation
  of smooth displacements in pixels; contrast: range of log gamma and log contrast; thickness: how far strokes grow or
  shrink, up to 1; erase: probability of a black rectangle; background: range of a brightness and of slopes
  that are added, and of their noise, for pictures whose background would tell two views from all others.
  """

  def view(key: Array, x: Array) -> Array:
    keys = jax.random.split(key, 3)
    x = augment.digit_view(keys[0], x, degrees, scale, shift, shear, elastic, contrast)
    x = augment.thickness(keys[1], x, thickness) if thickness else x
    x = augment.erase(keys[2], x, erase) if erase else x
    return augment.background(jax.random.fold_in(key, 3), x, background) if background else x

  return view


def photos(
  *,
  crop: float = 0.2,
  flip: float = 0.5,
  jitter: float = 0.8,
  brightness: float = 0.4,
  contrast: float = 0.4,
  saturation: float = 0.4,
  hue: float = 0.1,
  grey: float = 0.2,
  blur: float = 0.0,
  solarise: float = 0.0,
) -> View:
  """For colour photographs; the defaults are SimCLR's for CIFAR-10 (strength 0.5, no blur; arXiv 2002.05709, B.9).

  crop: least share of the area that is kept; flip, jitter, grey, blur, solarise: probabilities; brightness, contrast,
  saturation, hue: strengths of the jitter (see `photo.jitter`).
  """

  def view(key: Array, x: Array) -> Array:
    keys = jax.random.split(key, 5)
    x = photo.crop_and_flip(keys[0], x, crop, flip) if crop < 1 or flip else x
    x = photo.jitter(keys[1], x, jitter, brightness, contrast, saturation, hue) if jitter else x
    x = photo.grey(keys[2], x, grey) if grey else x
    x = photo.blur(keys[3], x, blur) if blur else x
    return photo.solarise(keys[4], x, solarise) if solarise else x

  return view


def frames(
  *,
  gap: int = 4,
  crop: float = 0.5,
  flip: float = 0.0,
  jitter: float = 0.8,
  brightness: float = 0.4,
  contrast: float = 0.4,
  saturation: float = 0.4,
  hue: float = 0.1,
  grey: float = 0.2,
  blur: float = 0.0,
) -> View:
  """For clips: the two views are of two frames, at most `gap` apart, see `pair`. The others are those of photos; frames
  of a clip differ already, so that less is cut off, and nothing flipped.
  """
  return photos(
    crop=crop, flip=flip, jitter=jitter, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue,
    grey=grey, blur=blur,
  )  # fmt: skip


def sound(
  *,
  crop: float = 0.9,
  speed: float = 0.0,
  shift: float = 0.0,
  gain: float = 0.0,
  noise: float = 0.3,
  warp: float = 0.05,
  tempo: float = 0.4,
  equaliser: float = 0.08,
  frames: int = 0,
  bands: int = 0,
) -> Callable[[Spectrogram], View]:
  """For recordings. The defaults are those that helped to tell the digits of new speakers, see docs/sound.md.

  Of the waveform: crop: least share of the length that is kept; speed: range of the logarithm of how fast it is played;
  shift: silence in front, as a share of the length; gain: range in decibels; noise: white, at most so much of the
  loudness. Of a spectrogram, where the encoder reads one: warp: range of the logarithm of a stretch of the bands;
  tempo: deviation of the logarithm of a pace that changes; equaliser: of a smooth curve over the bands (of 1, the whole
  depth); frames, bands: widest mask of each.
  """

  def through(spectrogram: Spectrogram) -> View:
    def view(key: Array, x: Array) -> Array:
      keys = jax.random.split(key, 10)
      x = waves.crop(keys[0], x, crop) if crop < 1 else x
      x = waves.speed(keys[1], x, speed) if speed else x
      x = waves.shift(keys[2], x, shift) if shift else x
      x = waves.gain(keys[3], x, gain) if gain else x
      x = waves.noise(keys[4], x, noise) if noise else x
      x = spectrogram(x)
      if x.ndim == 2:
        return x
      x = spectra.warp_bands(keys[5], x, warp) if warp else x
      x = spectra.warp_frames(keys[9], x, tempo) if tempo else x
      x = spectra.equalise(keys[6], x, equaliser) if equaliser else x
      x = spectra.mask_frames(keys[7], x, frames) if frames else x
      return spectra.mask_bands(keys[8], x, bands) if bands else x

    return view

  return through


VIEWS: dict[str, Callable[..., Any]] = {"digits": digits, "photos": photos, "frames": frames, "sound": sound}

PARTS: dict[str, dict[str, tuple[str, ...]]] = {  # operation -> its options; all others off, it is seen alone
  "digits": {
    "affine": ("degrees", "scale", "shift", "shear"),
    **{name: (name,) for name in ("elastic", "contrast", "thickness", "erase", "background")},
  },
  "photos": {
    "crop": ("crop",),
    "flip": ("flip",),
    "jitter": ("jitter", "brightness", "contrast", "saturation", "hue"),
    **{name: (name,) for name in ("grey", "blur", "solarise")},
  },
  "frames": {
    "the other frame": ("gap",),
    "crop": ("crop",),
    "flip": ("flip",),
    "jitter": ("jitter", "brightness", "contrast", "saturation", "hue"),
    **{name: (name,) for name in ("grey", "blur")},
  },
  "sound": {
    name: (name,)
    for name in ("crop", "speed", "shift", "gain", "noise", "warp", "tempo", "equaliser", "frames", "bands")
  },
}

SPECTRAL = ("warp", "tempo", "equaliser", "frames", "bands")  # what is done to a spectrogram, and not to a waveform


def build(spec: str, auto: tuple[str, str] = ("digits", "photos"), spectrogram: Spectrogram = lambda x: x) -> View:
  """A view from its text: `digits:elastic=0,degrees=10`, or `auto`: sound for waveforms; the second of `auto` for
  images with three channels, else the first.

  spectrogram: of the encoder whose body will read it.

  Raises:
    UserError: unknown kind or option (with the nearest names), or a value out of range.
  """
  if spec == "auto":
    grey, colour, heard = (build(text, spectrogram=spectrogram) for text in (*auto, "sound"))
    return lambda key, x: (heard if x.ndim == 2 else colour if x.shape[-1] == 3 else grey)(key, x)
  kind, values = parse(spec)
  if kind == "sound":
    return _only(VIEWS[kind](**values)(spectrogram), spec, 2, "recordings")
  return _only(VIEWS[kind](**values), spec, 4, "images")


def are_of_frames(spec: str) -> bool:
  """Whether the views of this text are of two frames of a clip."""
  return spec.partition(":")[0] == "frames"


def pair(spec: str, key: Array, x: Array) -> tuple[Array, Array]:
  """What the first and the second view are made from, [B,H,W,C] each: x itself, twice, or of clips [B,T,H,W,C] two
  frames whose distance is 1 to `gap`, all alike, in either order; `gap` is at most T - 1.

  Raises:
    UserError: views of frames for data that are no clips.
  """
  if not are_of_frames(spec):
    return x, x
  if x.ndim != 5:
    raise UserError(f"--hp=views={spec}: these views are of clips; leave views out, or write views=auto.")
  n, t = x.shape[:2]
  far = min(int(parse(spec)[1]["gap"]), t - 1)
  keys = jax.random.split(key, 3)
  distance = jax.random.randint(keys[0], (n,), min(1, far), far + 1)
  start = jnp.minimum((jax.random.uniform(keys[1], (n,)) * (t - distance)).astype(jnp.int32), t - 1 - distance)
  turned = jax.random.bernoulli(keys[2], 0.5, (n,))
  rows, ends = jnp.arange(n), (start + jnp.where(turned, distance, 0), start + jnp.where(turned, 0, distance))
  return x[rows, ends[0]], x[rows, ends[1]]


def _only(view: View, spec: str, axes: int, what: str) -> View:
  """The view, which refuses what it is not for."""

  def checked(key: Array, x: Array) -> Array:
    if x.ndim != axes:
      raise UserError(f"--hp=views={spec}: these views are of {what}; leave views out, or write views=auto.")
    return view(key, x)

  return checked


def parse(spec: str) -> tuple[str, dict[str, float]]:
  """`digits:elastic=0` -> ("digits", all of its options). Raises what `build` does."""
  kind, _, settings = spec.partition(":")
  if kind not in VIEWS:
    raise UserError(f"--hp=views={spec}: no views are called {kind!r}.{options.nearest(kind, [*VIEWS, 'auto'])}")
  values = options.parse(VIEWS[kind], [s for s in settings.split(",") if s], f"--hp=views={kind}:")
  below_one = {"crop", "flip", "jitter", "grey", "blur", "solarise", "erase", "thickness"}
  for name, value in values.items():
    if not 0 <= value < float("inf") or (name in below_one and value > 1) or (name == "crop" and value == 0):
      limits = "in (0, 1]" if name == "crop" else "in [0, 1]" if name in below_one else "at least 0"
      raise UserError(f"--hp=views={spec}: {name} must be {limits}.")
  return kind, options.resolve(VIEWS[kind], values)


def pictures(spec: str, key: Array, x: Array, spectrogram: Spectrogram = lambda x: x) -> dict[str, Array]:
  """What the views of `spec` do to x, images f32 [B,H,W,C], waveforms [B,T] or the first frames of clips [B,T,H,W,C]:
  {row title: images, or spectrograms}: each operation alone, then all, twice. Where an encoder reads waveforms, those
  of spectrograms are not done. Of two frames, each of the two is a row.
  """
  of_frames = are_of_frames(spec)
  x = x[:, 0] if x.ndim == 5 and not of_frames else x
  first, second = pair(spec, jax.random.fold_in(key, 99), x)
  auto = "sound" if x.ndim == 2 else "photos" if x.shape[-1] == 3 else "digits"
  kind, values = parse(auto if spec == "auto" else spec)
  off = {name: 1.0 if name == "crop" else 0 for name in values}

  def view(strengths: dict[str, float], key: Array, x: Array) -> Array:
    made = VIEWS[kind](**{**off, **strengths})
    return (made(spectrogram) if kind == "sound" else made)(key, x)

  rows = {"original": spectrogram(first)}
  for i, (part, names) in enumerate(PARTS[kind].items()):
    strengths = {name: values[name] for name in names}
    if all(strengths[name] == off[name] for name in names) or (part in SPECTRAL and rows["original"].ndim == 2):
      continue
    rows[part] = view(strengths, jax.random.fold_in(key, i), second if "gap" in names else first)
  return rows | {f"view {i}": view(values, jax.random.fold_in(key, 100 + i), x) for i, x in ((1, first), (2, second))}
