"""VADeR: where points are drawn, where they are in both views, what is read there, and what repels what."""

import importlib

import jax
import numpy as np
import pytest
import scipy.ndimage
from pretexts import KEY, TINY, apply, build, jitted, make, make_batch

from sslx import nn
from sslx.ops import augment
from sslx.types import Refusal, UserError

vader = importlib.import_module("sslx.pretext.vader")  # its function has the same name
MAPS = "conv:widths=4-6,norm=none"
draw = jax.jit(vader.draw, static_argnums=2)
seen_at = jax.jit(vader.seen_at, static_argnums=2)
sample = jax.jit(vader.sample, static_argnums=2)
warp = jax.jit(augment.warp)


def ramp(height: int, width: int) -> np.ndarray:
  """[1,height,width,2] whose value at each place is where its middle is, in places."""
  return np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)[None].astype(np.float32)


# ---- what is read of a map -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 7), (4, 4), (1, 6), (6, 1), (1, 1)])
def test_a_map_is_read_as_scipy_reads_it(shape):
  """Linearly between the middles of places, and outside as at the border; all pixels of the image and further ones."""
  rng = np.random.default_rng(0)
  maps, size = rng.normal(size=(2, *shape, 3)).astype(np.float32), (13, 20)
  at = rng.uniform(-6, 26, (2, 200, 2)).astype(np.float32)
  at[:, :100] = np.rint(at[:, :100])
  read = np.asarray(sample(maps, at, size))
  for b, c in np.ndindex(2, 3):
    where = [(at[b, :, i] + 0.5) * shape[i] / size[i] - 0.5 for i in (0, 1)]
    expected = scipy.ndimage.map_coordinates(maps[b, ..., c], where, order=1, mode="nearest")
    np.testing.assert_allclose(read[b, :, c], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (5, 9)])
def test_a_map_of_the_images_size_is_read_pixel_by_pixel(shape):
  x = np.random.default_rng(0).normal(size=(1, *shape, 2)).astype(np.float32)
  pixels = ramp(*shape).reshape(1, -1, 2)
  np.testing.assert_allclose(sample(x, pixels, shape)[0], x.reshape(-1, 2), atol=1e-6)


def test_the_middle_of_a_place_is_the_middle_of_its_pixels():
  """Of an image of 8 x 12 pixels, whose places have 4 x 3: a straight ramp of the map is one of the image."""
  size = (8, 12)
  at = np.random.default_rng(1).uniform([1.5, 1], [5.5, 10], (1, 50, 2)).astype(np.float32)
  at = np.concatenate([at, [[[1.5, 1], [5.5, 10], [1.5, 4]]]], 1).astype(np.float32)
  read = np.asarray(sample(ramp(2, 4), at, size))
  np.testing.assert_allclose(read, (at - [1.5, 1]) / [4, 3], atol=1e-5)
  corners = np.float32([[[0, 0], [-50, 3], [0, 11], [99, 99]]])  # beyond the middle of the last place it is its value
  np.testing.assert_allclose(sample(ramp(2, 4), corners, size)[0], [[0, 0], [0, 2 / 3], [0, 3], [1, 3]], atol=1e-5)


def test_all_blocks_are_read_and_one_without_places_is_skipped():
  rng = np.random.default_rng(0)
  outputs = {f"block{i}": rng.normal(size=(2, 8 // i, 8 // i, i)).astype(np.float32) for i in (1, 2)}
  at = rng.uniform(0, 8, (2, 5, 2)).astype(np.float32)
  each = [sample(maps, at, (8, 8)) for maps in outputs.values()]
  code = rng.normal(size=(2, 9)).astype(np.float32)
  np.testing.assert_allclose(vader.read(outputs | {"code": code}, at, (8, 8)), np.concatenate(each, -1), atol=1e-6)


# ---- the same point in a view ----------------------------------------------------------------------------------------


def test_a_point_is_where_it_is_in_a_view_that_changes_nothing():
  at = np.random.default_rng(0).uniform(0, 9, (1, 30, 2)).astype(np.float32)
  np.testing.assert_allclose(seen_at(np.float32([[[1, 0, 0], [0, 1, 0]]]), at, (10, 16)), at, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
def test_a_view_shows_at_a_point_what_the_image_has_there(size):
  """Of images that tell each pixel's place: the value of the warped view at the point is the point of the image. A ramp
  is interpolated without error; left out are points that the view lacks, or next to what is outside of the image.
  """
  n, count = 24, 60
  x = np.repeat(np.concatenate([ramp(*size), np.ones((1, *size, 1), np.float32)], -1), n, 0)
  affine = augment.affine_grid(KEY, n, 40.0, 0.25, 0.2, 0.3)
  view = np.asarray(warp(x, affine, np.zeros((n, 2, *size), np.float32)))
  at = np.random.default_rng(0).integers(0, size, (n, count, 2)).astype(np.float32)
  there = np.asarray(seen_at(affine, at, size))
  shown = np.asarray(sample(view, there, size))
  clear = ((there >= 0) & (there <= np.array(size) - 1)).all(-1) & (shown[..., 2] > 1 - 1e-6)
  assert clear.mean() > 0.5
  np.testing.assert_allclose(shown[..., :2][clear], at[clear], atol=2e-3)


@pytest.mark.parametrize("size", [(20, 20), (16, 28)])
def test_both_views_of_a_batch_show_a_drawn_point_alike(size):
  """By the transform as a whole: of smooth images, dark at the border, both views are the image there."""
  y, x = np.meshgrid(*(np.linspace(0, np.pi, n) for n in size), indexing="ij")
  images = np.stack([np.sin(y) * np.sin(x), np.sin(y) ** 2 * np.sin(x)])[..., None].astype(np.float32)
  method = build("vader", MAPS, {"shift": 0.05, "contrast": 0.0, "background": 0.0, "even": 1e-9, "points": 40})
  view = jax.tree.map(np.asarray, jax.jit(method.transform)(KEY, {"x": images}))
  values = [np.asarray(sample(view[f"view{i}"], view[f"at{i}"], size))[..., 0] for i in (1, 2)]
  inside = np.logical_and(*(((view[f"at{i}"] > 1) & (view[f"at{i}"] < np.array(size) - 2)).all(-1) for i in (1, 2)))
  assert inside.mean() > 0.4
  assert values[0][inside].std() > 0.05
  np.testing.assert_allclose(values[0][inside], values[1][inside], atol=0.03)
  assert np.abs(view["at1"] - view["at2"]).max() > 1


# ---- where points are drawn ------------------------------------------------------------------------------------------


def test_points_are_pixels_and_none_is_drawn_twice():
  at = np.asarray(draw(KEY, make_batch(20, 4, 5)["x"], 20, 0.02))
  assert at.shape == (20, 20, 2)
  for each in at:  # as many as there are pixels: all of them
    assert sorted(map(tuple, each)) == [(i, j) for i in range(4) for j in range(5)]
  assert len({each.tobytes() for each in at}) == 20  # each image draws its own


def test_points_are_drawn_where_the_image_changes():
  """Of a step between black and white, all within the window around it; with much `even`, anywhere."""
  x = np.zeros((50, 20, 30, 1), np.float32)
  x[:, :, 15:] = 1
  at = np.asarray(draw(KEY, x, 16, 1e-9))
  reach = vader.WINDOW // 2
  assert set(at[..., 1].ravel()) == set(range(15 - reach, 15 + reach))
  assert set(at[..., 0].ravel()) == set(range(20))
  share = [np.sqrt(k * (5 - k)) for k in (1, 2, 3, 4)]  # of the columns: of the window's five columns k are white
  counts = np.bincount(at[..., 1].astype(int).ravel(), minlength=30)[13:17]
  np.testing.assert_allclose(counts / counts.sum(), np.array(share) / sum(share), atol=0.06)
  anywhere = np.asarray(draw(KEY, x, 16, 1e6)).reshape(-1, 2)
  counts = np.bincount(anywhere[:, 1].astype(int), minlength=30)
  assert counts.min() > 0
  assert abs(counts[13:17].sum() / 800 - 4 / 30) < 0.05


def test_the_border_of_a_bright_image_is_no_contrast():
  x = np.full((40, 20, 20, 3), 0.9, np.float32)
  at = np.asarray(draw(KEY, x, 16, 0.02)).reshape(-1, 2)
  border = ((at < 2) | (at > 17)).any(-1).mean()
  assert border == pytest.approx(1 - 16**2 / 20**2, abs=0.06)


# ---- the loss --------------------------------------------------------------------------------------------------------


def naive(z1: np.ndarray, z2: np.ndarray, temperature: float) -> float:
  """Embeddings [B,points,D] of both views: each against its positive and all points of the other images."""
  unit = [z / np.linalg.norm(z, axis=-1, keepdims=True) for z in (z1, z2)]
  terms = []
  for mine, other in ((unit[0], unit[1]), (unit[1], unit[0])):
    for b, i in np.ndindex(z1.shape[:2]):
      positive = np.exp(mine[b, i] @ other[b, i] / temperature)
      rest = [z[c, j] for z in unit for c in range(len(z1)) if c != b for j in range(z1.shape[1])]
      terms.append(-np.log(positive / (positive + sum(np.exp(mine[b, i] @ n / temperature) for n in rest))))
  return float(np.mean(terms))


def test_the_loss_is_of_the_maps_at_the_points_and_negatives_are_other_images():
  hp = {"points": 3, "projector": (5, 4), "temperature": 0.3}
  method, encoder, batch = jitted(build("vader", MAPS, hp)), nn.build(MAPS), make_batch(4, 8, 8)
  params, state = method.init(KEY, batch)
  view = method.transform(KEY, batch)
  value, _ = method.loss(params, state, KEY, view)
  z = []
  for name in ("1", "2"):
    outputs = apply(encoder, params["encoder"], state["encoder"], view[f"view{name}"])[0]
    at = np.asarray(view[f"at{name}"])
    read = []
    for maps in map(np.asarray, outputs.values()):
      for channel in range(maps.shape[-1]):
        where = (at + 0.5) * maps.shape[1] / 8 - 0.5
        read.append([scipy.ndimage.map_coordinates(m[..., channel], w.T, order=1, mode="nearest")
                     for m, w in zip(maps, where, strict=True)])  # fmt: skip
    features = np.moveaxis(np.array(read), 0, -1)
    head = nn.Projector((5, 4))
    z.append(np.asarray(head.apply({"params": params["projector"]}, features.reshape(12, -1))).reshape(4, 3, 4))
  assert float(value) == pytest.approx(naive(*z, 0.3), rel=1e-4)


def test_a_code_without_places_is_no_part_of_the_loss():
  """An encoder whose last block is flat learns by its maps; the code's own weights get no gradient."""
  method = make("vader", "conv:widths=4,norm=none,code=3", points=4)
  batch = make_batch(4, 8, 8)
  params, state = method.init(KEY, batch)
  view = method.transform(KEY, batch)
  slope = jax.jit(jax.grad(lambda p: method.loss(p, state, KEY, view)[0]))(params)
  assert params["projector"]["Dense_0"]["kernel"].shape[0] == 4
  largest = {name: max(np.abs(leaf).max() for leaf in jax.tree.leaves(s)) for name, s in slope["encoder"].items()}
  assert largest["code"] == 0
  assert largest["block1"] > 0


# ---- what it refuses -------------------------------------------------------------------------------------------------


def test_an_encoder_without_maps_is_refused_in_a_line():
  with pytest.raises(Refusal, match=r"^--method=vader: reads maps, .* try --encoder=conv\.$"):
    build("vader", TINY)


def test_more_points_than_pixels_are_refused_in_a_line():
  method = build("vader", MAPS, {"points": 17})
  with pytest.raises(Refusal, match=r"^--hp=points=17: these images have 4x4 pixels; ask for fewer\.$"):
    method.init(KEY, make_batch(2, 4, 4))


@pytest.mark.parametrize(
  "hp", [{"temperature": 0.0}, {"even": 0.0}, {"even": float("inf")}, {"points": 0}, {"projector": ()}]
)
def test_settings_out_of_range_are_refused(hp):
  with pytest.raises(UserError, match=f"--hp={next(iter(hp))}="):
    build("vader", MAPS, hp)
