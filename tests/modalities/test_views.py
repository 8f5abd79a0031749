"""Views: ranges, identity at strength 0, randomness of each image, reproducibility; colours against colorsys."""

import colorsys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import nn
from sslx.modalities import views
from sslx.ops import augment, photo
from sslx.types import UserError

KEY = jax.random.key(3)


def images(n=6, height=24, width=20, channels=3, seed=0):
  return np.random.default_rng(seed).uniform(size=(n, height, width, channels)).astype(np.float32)


names = ("crop_and_flip", "jitter", "grey", "blur", "solarise", "rgb_to_hsv", "hsv_to_rgb")
compiled = types.SimpleNamespace(
  thickness=jax.jit(augment.thickness), erase=jax.jit(augment.erase), **{n: jax.jit(getattr(photo, n)) for n in names}
)

OPERATIONS = {  # name -> (at full strength, at none)
  "crop_and_flip": (lambda k, x: photo.crop_and_flip(k, x, 0.2, 0.5), lambda k, x: photo.crop_and_flip(k, x, 1.0, 0.0)),
  "jitter": (lambda k, x: photo.jitter(k, x, 1.0, 0.9, 0.9, 0.9, 0.5), lambda k, x: photo.jitter(k, x, 1, 0, 0, 0, 0)),
  "jitter, never": (None, lambda k, x: photo.jitter(k, x, 0.0, 0.9, 0.9, 0.9, 0.5)),
  "grey": (None, lambda k, x: photo.grey(k, x, 0.0)),
  "blur": (lambda k, x: photo.blur(k, x, 1.0), lambda k, x: photo.blur(k, x, 0.0)),
  "solarise": (None, lambda k, x: photo.solarise(k, x, 0.0)),
  "thickness": (lambda k, x: augment.thickness(k, x, 1.0), lambda k, x: augment.thickness(k, x, 0.0)),
  "erase": (lambda k, x: augment.erase(k, x, 1.0), lambda k, x: augment.erase(k, x, 0.0)),
  "background": (None, lambda k, x: augment.background(k, x, 0.0)),
  "digits": (
    views.build("digits:thickness=1,erase=1"),
    views.build("digits:degrees=0,scale=0,shift=0,shear=0,elastic=0,contrast=0"),
  ),
  "photos": (views.build("photos:crop=0.1,blur=1,solarise=0.5"), views.build("photos:crop=1,flip=0,jitter=0,grey=0")),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations(name, channels):
  strong, none = OPERATIONS[name]
  x = images(channels=channels)
  np.testing.assert_allclose(jax.jit(none)(KEY, x), x, atol=2e-6)
  if strong is None:
    return
  change = jax.jit(strong)
  copies = np.repeat(x[:1], 6, axis=0)
  y = np.asarray(change(KEY, copies))
  assert y.shape == x.shape
  assert y.min() >= 0
  assert y.max() <= 1
  assert len({row.tobytes() for row in y}) >= 5  # each image draws its own; two may be spared an erasure
  np.testing.assert_array_equal(change(KEY, copies), y)
  assert np.any(np.asarray(change(jax.random.key(4), copies)) != y)
  other = copies.copy()
  other[2] = 1 - other[2]  # what happens to an image does not depend on the others
  np.testing.assert_allclose(np.delete(np.asarray(change(KEY, other)), 2, 0), np.delete(y, 2, 0), atol=1e-6)


def test_hsv_is_that_of_the_standard_library():
  colours = np.concatenate([images(1, 8, 8)[0].reshape(-1, 3), np.eye(3), 1 - np.eye(3), [[0, 0, 0], [1, 1, 1]]])
  colours = np.concatenate([colours, [[0.5, 0.5, 0.5], [0.2, 0.7, 0.7], [0.9, 0.1, 0.9]]]).astype(np.float32)
  expected = np.array([colorsys.rgb_to_hsv(*map(float, c)) for c in colours])
  hsv = np.asarray(compiled.rgb_to_hsv(jnp.asarray(colours)))
  np.testing.assert_allclose(hsv, expected, atol=1e-6)
  np.testing.assert_allclose(compiled.hsv_to_rgb(jnp.asarray(hsv)), colours, atol=1e-6)
  turned = hsv + np.array([1, 0, 0], np.float32)  # a whole turn
  np.testing.assert_allclose(compiled.hsv_to_rgb(jnp.asarray(turned)), colours, atol=1e-5)


def test_the_hue_of_many_colours_is_the_same_wherever_it_is_computed():
  """XLA may round the largest channel differently from the channels themselves: the hue must not depend on that."""
  x = images(50, 9, 7)
  strengths = (1.0, 0.4, 0.4, 0.4, 0.1)
  with jax.disable_jit():
    expected = photo.jitter(KEY, x[:4], *strengths)
  np.testing.assert_allclose(compiled.jitter(KEY, x[:4], *strengths), expected, atol=1e-5)
  hues = jax.jit(lambda x: photo.rgb_to_hsv(jnp.clip(x * 1.1 - 0.05, 0, 1)))(x)
  np.testing.assert_allclose(
    hues, compiled.rgb_to_hsv(np.clip(x * np.float32(1.1) - np.float32(0.05), 0, 1)), atol=1e-4
  )


def test_hue_keeps_value_and_greys():
  x = images(20)
  y = np.asarray(compiled.jitter(KEY, x, 1.0, 0.0, 0.0, 0.0, 0.5))
  np.testing.assert_allclose(y.max(-1), x.max(-1), atol=1e-5)
  np.testing.assert_allclose(y.min(-1), x.min(-1), atol=1e-5)
  assert np.abs(y - x).max() > 0.1
  greys = np.repeat(images(4, channels=1), 3, axis=-1)
  np.testing.assert_allclose(compiled.jitter(KEY, greys, 1.0, 0.0, 0.0, 0.9, 0.5), greys, atol=1e-6)


def test_brightness_and_contrast_by_their_definition():
  x = 0.4 + 0.2 * images(50)  # far from the ends: nothing is clipped
  y = np.asarray(compiled.jitter(KEY, x, 1.0, 0.5, 0.0, 0.0, 0.0))
  factor = y / x
  assert np.ptp(factor.reshape(50, -1), axis=1).max() < 1e-4  # one factor an image
  assert 0.5 <= factor.min() < 0.7
  assert 1.3 < factor.max() <= 1.5
  y = np.asarray(compiled.jitter(KEY, x, 1.0, 0.0, 0.5, 0.0, 0.0))
  grey = lambda images: (images @ np.array(photo.LUMA)).mean((1, 2))  # noqa: E731
  np.testing.assert_allclose(grey(y), grey(x), atol=1e-5)
  ratio = (y - grey(x)[:, None, None, None]).std((1, 2, 3)) / (x - grey(x)[:, None, None, None]).std((1, 2, 3))
  assert ratio.min() < 0.7
  assert ratio.max() > 1.3


def test_flip_and_crop():
  x = images()
  np.testing.assert_allclose(compiled.crop_and_flip(KEY, x, 1.0, 1.0), x[:, :, ::-1], atol=1e-5)
  some = np.asarray(compiled.crop_and_flip(KEY, np.repeat(x[:1], 400, 0), 1.0, 0.3))
  flipped = np.abs(some - x[0, :, ::-1]).max((1, 2, 3)) < 1e-5
  assert 0.2 < flipped.mean() < 0.4
  assert (np.abs(some - x[0]).max((1, 2, 3)) < 1e-5)[~flipped].all()
  # coordinates as colours: a crop is a straight, increasing ramp between two of them
  height, width, n = 40, 60, 300
  at = np.stack(np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij"), -1)
  y = np.asarray(compiled.crop_and_flip(KEY, np.repeat(at[None].astype(np.float32), n, 0), 0.25, 0.0))
  inner = y[:, 2:-2, 2:-2]
  steps = np.diff(inner[..., 0], axis=1), np.diff(inner[..., 1], axis=2)
  sides = [step.mean((1, 2)) * size for step, size in zip(steps, (height, width), strict=True)]
  assert all(np.ptp(step.reshape(n, -1), axis=1).max() < 1e-4 for step in steps)
  area = sides[0] * sides[1]
  assert 0.24 < area.min() < 0.35
  assert 0.85 < area.max() <= 1.001
  free = np.maximum(*sides) < 0.999  # where the image's border did not cut the aspect
  aspect = (sides[0] / sides[1])[free]
  assert 0.74 < aspect.min() < 0.85
  assert 1.2 < aspect.max() < 1.35
  assert y.min() >= 0
  assert y.max() < 1


def test_blur_is_a_gaussian():
  spot = np.zeros((200, 21, 21, 1), np.float32)
  spot[:, 10, 10] = 1
  y = np.asarray(compiled.blur(KEY, spot, 1.0, 0.5, 1.5))
  np.testing.assert_allclose(y.sum((1, 2, 3)), 1, atol=1e-4)
  np.testing.assert_allclose(y, y[:, ::-1], atol=1e-6)
  np.testing.assert_allclose(y, y.swapaxes(1, 2), atol=1e-6)
  variance = (y.sum((2, 3)) * (np.arange(21) - 10) ** 2).sum(1)
  assert 0.45 < np.sqrt(variance.min()) < 0.7
  assert 1.3 < np.sqrt(variance.max()) < 1.55
  flat = np.full((4, 5, 7, 3), 0.3, np.float32)
  np.testing.assert_allclose(compiled.blur(KEY, flat, 1.0), flat, atol=1e-6)  # borders are not darkened


def test_grey_and_solarise():
  x = images(300)
  luma = (x @ np.array(photo.LUMA, np.float32))[..., None]
  np.testing.assert_allclose(compiled.grey(KEY, x, 1.0), np.repeat(luma, 3, -1), atol=1e-6)
  some = np.asarray(compiled.grey(KEY, x, 0.2))
  changed = np.any(some != x, axis=(1, 2, 3))
  assert 0.12 < changed.mean() < 0.3
  np.testing.assert_allclose(compiled.solarise(KEY, x, 1.0), np.where(x > 0.5, 1 - x, x), atol=1e-6)


def test_thickness_and_erase():
  x = np.zeros((300, 9, 9, 1), np.float32)
  x[:, 3:6, 3:6] = 1
  y = np.asarray(compiled.thickness(KEY, x, 1.0)).sum((1, 2, 3))  # from 1 pixel (eroded) to 25 (grown)
  assert y.min() < 1.5
  assert y.max() > 24.5
  assert 0.4 < (y > 9).mean() < 0.6
  z = np.asarray(compiled.erase(KEY, np.ones((300, 20, 30, 1), np.float32), 1.0))
  gone = (z == 0).mean((1, 2, 3))
  assert gone.max() <= 0.28
  assert gone.mean() == pytest.approx(1 / 16, abs=0.02)  # sides uniform in 0 .. 1/2
  columns, rows = (z == 0).any(1), (z == 0).any(2)
  assert np.array_equal(z == 0, rows[:, :, None] & columns[:, None])  # rectangles
  half = np.asarray(compiled.erase(KEY, np.ones((300, 20, 30, 1), np.float32), 0.5))
  assert 0.35 < (half == 0).any((1, 2, 3)).mean() < 0.65


def test_auto_goes_by_the_channels():
  auto = views.build("auto")
  for channels, kind in [(1, "digits"), (3, "photos")]:
    x = images(channels=channels)
    np.testing.assert_allclose(jax.jit(auto)(KEY, x), jax.jit(views.build(kind))(KEY, x), atol=1e-6)


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("photo", "Did you mean 'photos'"),
    ("photos:crup=0.3", "'crop'"),
    ("photos:crop=0", r"crop must be in \(0, 1\]"),
    ("digits:erase=2", r"erase must be in \[0, 1\]"),
    ("digits:elastic=-1", "elastic must be at least 0"),
    ("digits:background=-0.1", "background must be at least 0"),
    ("photos:background=0.3", "no option 'background'"),
    ("digits:elastic=much", "expected float"),
  ],
)
def test_bad_views(spec, message):
  with pytest.raises(UserError, match=message):
    views.build(spec)


def test_the_background_is_added_last_and_only_where_it_is_asked_for():
  """It is that of `augment.background`, on the view that is made without it."""
  x, options = images(channels=1), "digits:elastic=0.5,erase=0.3"
  plain = jax.jit(views.build(options))(KEY, x)
  np.testing.assert_array_equal(jax.jit(views.build(f"{options},background=0"))(KEY, x), plain)
  changed = np.asarray(jax.jit(views.build(f"{options},background=0.3"))(KEY, x))
  expected = jax.jit(augment.background)(jax.random.fold_in(KEY, 3), plain, 0.3)
  np.testing.assert_allclose(changed, expected, atol=1e-5)
  assert np.abs(changed - plain).max() > 0.1
  assert len({(a - b).tobytes() for a, b in zip(changed, np.asarray(plain), strict=True)}) == 6


def test_options_reach_the_operations():
  x = images()
  mirrored = jax.jit(views.build("photos:crop=1,flip=1,jitter=0,grey=0"))(KEY, x)
  np.testing.assert_allclose(mirrored, x[:, :, ::-1], atol=1e-5)
  erase = jax.jit(views.build("digits:degrees=0,scale=0,shift=0,shear=0,elastic=0,contrast=0,erase=1"))
  assert (np.asarray(erase(KEY, np.ones_like(x))) == 0).any((1, 2, 3)).sum() >= 5  # one may be smaller than a pixel


@pytest.mark.parametrize(
  ("spec", "channels"),
  [("auto", 1), ("auto", 3), ("digits:elastic=0,erase=0.5", 1), ("digits:elastic=0,background=0.2", 1), ("photos", 3)],
)
def test_pictures_show_each_operation_alone(spec, channels):
  x = jnp.asarray(np.random.default_rng(0).random((6, 12, 12, channels), np.float32))
  titles = []

  @jax.jit
  def pictures(x):
    rows = views.pictures(spec, jax.random.key(0), x)
    titles.extend(rows)  # a dict that leaves a compiled function is sorted
    return rows

  rows = pictures(x)
  digits = {
    "auto": ["affine", "elastic", "contrast"],
    "digits:elastic=0,erase=0.5": ["affine", "contrast", "erase"],
    "digits:elastic=0,background=0.2": ["affine", "contrast", "background"],
  }
  parts = ["crop", "flip", "jitter", "grey"] if channels == 3 else digits[spec]
  assert titles == ["original", *parts, "view 1", "view 2"]  # what is off is left out
  np.testing.assert_array_equal(rows["original"], x)
  for name, row in rows.items():
    assert row.shape == x.shape
    assert name == "original" or np.any(row != x), name
  assert np.any(rows["view 1"] != rows["view 2"])
  if channels == 3:  # alone: a flip mirrors an image or leaves it
    for one, image in zip(rows["flip"], x, strict=True):
      assert np.allclose(one, image, atol=1e-5) or np.allclose(one, image[:, ::-1], atol=1e-5)


def test_pictures_of_sound_have_the_operations_that_the_encoder_hears():
  """All of them through a spectrogram; on a waveform, none that is of spectrograms and would change nothing."""
  x = jnp.asarray(np.random.default_rng(0).uniform(-0.9, 0.9, (3, 4000)).astype(np.float32))
  mel = nn.build("mel+conv").spectrogram
  for spectrogram, parts in (
    (mel, [*views.PARTS["sound"]]),
    (lambda x: x, ["crop", "speed", "shift", "gain", "noise"]),
  ):
    everything = "sound:speed=0.2,shift=0.1,gain=6,frames=10,bands=6"
    rows = views.pictures(everything, jax.random.key(0), x, spectrogram)
    assert list(rows) == ["original", *parts, "view 1", "view 2"]
    for name, row in rows.items():
      loudness = name == "gain" and spectrogram is mel  # which a spectrogram does not tell
      assert name == "original" or loudness or np.any(row != rows["original"]), name


def test_every_option_belongs_to_one_operation():
  for kind, parts in views.PARTS.items():
    named = [name for names in parts.values() for name in names]
    assert sorted(named) == sorted(views.options.parameters(views.VIEWS[kind]))
