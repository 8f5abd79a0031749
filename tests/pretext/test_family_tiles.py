"""Jigsaw puzzles and context prediction: tiles, orders, places, and that every tile is read by one encoder."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, make, pixels, prepared

from sslx import nn
from sslx.ops import tiles as ops
from sslx.pretext.context_prediction import PLACES
from sslx.pretext.families import tiles as tiling
from sslx.pretext.jigsaw import permutation_set
from sslx.types import UserError

TINY = "mlp:widths=6,code=4"


def make_batch(n=6, height=14, width=17, channels=1, seed=0):
  return {"x": prepared(pixels(n, height, width, channels, seed, least=1))}


def perturbed(tree, seed=0):
  """A generic point: fresh biases are zero, and zero hides mistakes."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: np.asarray(x) + 0.1 * rng.standard_normal(x.shape).astype(np.float32), tree)


# tiles


@pytest.mark.parametrize(
  ("method", "hp"), [("jigsaw", {"grid": 3, "crop": 0.8}), ("context_prediction", {"crop": 0.8})]
)
def test_images_too_small_are_refused(method, hp):
  with pytest.raises(UserError, match=r"images of 4x9 are too small for 3x3 tiles; use --image_size"):
    make(method, TINY, **hp).transform(KEY, make_batch(height=4, width=9))
  assert make(method, TINY, **hp).transform(KEY, make_batch(height=5, width=12))["tiles"].shape[2:4] == (1, 2)


def test_tiles_come_as_the_encoder_takes_them():
  tiles = jnp.ones((2, 9, 3, 4, 1)) * jnp.arange(9.0).reshape(1, 9, 1, 1, 1)

  def size(encoder, zoom):
    return tiling.for_encoder(tiles, nn.build(encoder), (2, 20, 30, 1), zoom)

  assert size("conv:widths=4", 1) is tiles
  assert size("conv:widths=4", 2).shape == (2, 9, 6, 8, 1)
  assert size("conv:widths=4,code=2", 1).shape == size(TINY, 3).shape == (2, 9, 20, 30, 1)
  np.testing.assert_allclose(size("conv:widths=4", 2)[:, :, 3, 5, 0], tiles[:, :, 0, 0, 0])  # tile by tile


@pytest.mark.parametrize("encoder", [TINY, "conv:widths=4-3,norm=group"])
def test_one_encoder_reads_every_tile_on_its_own(encoder):
  tiles = np.random.default_rng(0).uniform(size=(2, 9, 8, 8, 1)).astype(np.float32)
  net, dense, order = nn.build(encoder), nn.Linear(5), np.random.default_rng(1).permutation(9)
  params, state = jax.jit(lambda tiles: tiling.init(net, dense, KEY, tiles[:, 0], tiles))(tiles)
  encode = jax.jit(lambda tiles: tiling.encode(net, dense, params, state, tiles, True)[0])
  assert set(params) == {"encoder", "tile"}
  feature = encode(tiles)
  shuffled = encode(tiles[:, order])
  np.testing.assert_allclose(shuffled, feature[:, order], atol=1e-6)
  assert np.abs(np.asarray(shuffled - feature)).max() > 0.01
  other = tiles.copy()
  other[1, 4] = 0
  changed = np.asarray(encode(other) != feature).any(-1)
  assert changed.tolist() == (np.arange(18) == 13).reshape(2, 9).tolist()


# jigsaw


def hamming(a):
  distance = (a[:, None] != a[None]).sum(-1)
  return distance[~np.eye(len(a), dtype=bool)]


def test_permutation_set_is_greedy_and_far_apart():
  for tiles, count in ((3, 6), (4, 24), (5, 30)):
    everything = [*itertools.permutations(range(tiles))]
    chosen = everything[:1]
    while len(chosen) < count:
      distances = [[sum(a != b for a, b in zip(p, q, strict=True)) for q in chosen] for p in everything]
      chosen.append(everything[max(range(len(everything)), key=lambda i: (min(distances[i]), sum(distances[i]), -i))])
    np.testing.assert_array_equal(permutation_set(tiles, count), chosen)


def test_permutation_set_has_the_known_distances():
  assert len({tuple(p) for p in permutation_set(4, 24).tolist()}) == 24
  assert hamming(permutation_set(4, 4)).min() == 4  # a Latin square
  assert hamming(permutation_set(4, 24)).min() == 2
  assert hamming(permutation_set(9, 9)).min() == 9  # every Latin rectangle can be completed
  many = permutation_set(9, 100)
  np.testing.assert_array_equal(np.sort(many, 1), np.tile(np.arange(9), (100, 1)))
  assert len(np.unique(many, axis=0)) == 100
  assert hamming(many).min() == 6
  assert hamming(many).mean() > 8
  np.testing.assert_array_equal(permutation_set(9, 30), many[:30])  # a larger set goes on from a smaller one


def dense(params, x):
  return x @ np.float64(params["kernel"]) + np.float64(params["bias"])


def tile_features(params, tiles, shape):
  """[n,width] by the definition, tile by tile: TINY on the tile at the size of the image, dense layer, relu."""
  rows = []
  for tile in tiles:
    x = np.asarray(jax.image.resize(tile, shape, "bilinear"), np.float64).reshape(-1)
    x = np.maximum(dense(params["encoder"]["dense1"]["Dense_0"], x), 0)
    rows.append(np.maximum(dense(params["tile"]["Dense_0"], dense(params["encoder"]["code"]["Dense_0"], x)), 0))
  return np.stack(rows)


def head(params, x):
  return dense(params["head"]["Dense_1"], np.maximum(dense(params["head"]["Dense_0"], x), 0))


def cross_entropy(logits, label):
  return np.log(np.exp(logits - logits.max()).sum()) - (logits - logits.max())[label]


@pytest.mark.parametrize("standardise", [False, True])
def test_jigsaw_shuffles_tiles_and_asks_for_the_index_of_their_order(standardise):
  pretext, batch = (
    make("jigsaw", TINY, grid=3, permutations=7, width=5, hidden=8, standardise=standardise),
    make_batch(),
  )
  params, state = perturbed(pretext.init(KEY, batch)[0]), {"encoder": {}}
  view = jax.device_get(pretext.transform(KEY, batch))
  assert view["tiles"].shape[:2] == (6, 9)
  orders, expected, right = permutation_set(9, 7), [], []
  for tiles, labels in zip(view["tiles"], view["label"], strict=True):
    for label in labels:
      shuffled = np.stack([tiles[orders[label][i]] for i in range(9)])
      shuffled = np.asarray(ops.standardise(shuffled)) if standardise else shuffled
      logits = head(params, tile_features(params, shuffled, batch["x"].shape[1:]).reshape(-1))
      expected.append(cross_entropy(logits, label))
      right.append(logits.argmax() == label)
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  np.testing.assert_allclose(value, np.mean(expected), rtol=1e-3)
  np.testing.assert_allclose(metrics["jigsaw_accuracy"], np.mean(right), atol=1e-6)


def test_jigsaw_labels_are_drawn_for_every_image_and_cover_the_set():
  label = np.asarray(make("jigsaw", TINY, grid=2, permutations=24, puzzles=3).transform(KEY, make_batch(800))["label"])
  assert label.shape == (800, 3)
  counts = np.bincount(label.ravel(), minlength=24)
  assert len(counts) == 24
  assert counts.min() > 60  # of 100
  assert np.abs(np.corrcoef(label.T) - np.eye(3)).max() < 0.15


@pytest.mark.parametrize("grid", [2, 3])
def test_solving_with_the_right_order_restores_the_image(grid):
  """A head that always answers `guess` puts the tiles back where that was the order, and leaves them where it is 0."""
  pretext, batch, guess = make("jigsaw", TINY, grid=grid, permutations=4, crop=1.0, jitter=0.0), make_batch(24), 3
  params, state = pretext.init(KEY, batch)
  for answer in (0, guess):
    bias = params["head"]["Dense_1"]["bias"].at[:].set(0).at[answer].set(1e6)
    rigged = {**params, "head": {**params["head"], "Dense_1": {**params["head"]["Dense_1"], "bias": bias}}}
    shown = jax.device_get(pretext.show(rigged, state, KEY, batch))
    original = np.where(shown["puzzle"] != 0.5, shown["original"], 0.5)  # grey between the tiles
    restored = np.array([np.allclose(a, b) for a, b in zip(shown["solved as guessed"], original, strict=True)])
    unsolved = np.array([np.allclose(a, b) for a, b in zip(shown["puzzle"], original, strict=True)])
    assert 0 < restored.sum() < 24
    if answer == 0:
      np.testing.assert_array_equal(shown["solved as guessed"], shown["puzzle"])
    else:
      assert not (restored & unsolved).any()
    for a, b in zip(shown["solved as guessed"], shown["puzzle"], strict=True):
      np.testing.assert_array_equal(np.sort(a.ravel()), np.sort(b.ravel()))  # nothing is lost


def test_unfit_options_are_refused_before_training():
  for method, hp, message in (
    ("jigsaw", {"permutations": 25, "grid": 2}, r"--hp=permutations=25: must be in 2\.\.24 for grid=2"),
    ("jigsaw", {"permutations": 1}, "--hp=permutations=1: must be in"),
    ("jigsaw", {"grid": 4}, "--hp=grid=4: must be 2 or 3"),
    ("jigsaw", {"puzzles": 0}, "--hp=puzzles=0: must be at least 1"),
    ("jigsaw", {"gap": 1.5}, r"--hp=gap=1\.5: must be in \[0, 1\]"),
    ("context_prediction", {"jitter": -0.1}, r"--hp=jitter=-0\.1: must be in \[0, 1\]"),
    ("context_prediction", {"jitter": float("nan")}, r"--hp=jitter=nan: must be in \[0, 1\]"),
    ("context_prediction", {"zoom": 0}, "--hp=zoom=0: must be at least 1"),
  ):
    with pytest.raises(UserError, match=message):
      make(method, TINY, **hp)
  with pytest.raises(
    UserError, match=r"--encoder: its last block has no output for tiles of 3x3 pixels; use --hp=zoom=2"
  ):
    make("context_prediction", "rotnet", zoom=1, crop=0.8).init(KEY, make_batch())
  make("context_prediction", "rotnet", zoom=3, crop=0.8).init(KEY, make_batch())


# context prediction


def test_classes_are_the_offsets_around_the_centre():
  offsets = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
  corners = ops.layout((28, 28), 3, 0.8, 0.5, 0.15).first
  assert [tuple(np.sign(corners[place] - corners[4])) for place in PLACES] == offsets


@pytest.mark.parametrize("channels", [1, 3])
def test_context_prediction_is_its_equation(channels):
  pretext, batch = make("context_prediction", TINY, width=5, hidden=8), make_batch(channels=channels)
  params, state = perturbed(pretext.init(KEY, batch)[0]), {"encoder": {}}
  view = jax.device_get(pretext.transform(KEY, batch))
  expected, swapped, right = [], [], []
  for tiles in view["tiles"]:
    f = tile_features(params, tiles, batch["x"].shape[1:])
    for label, place in enumerate((0, 1, 2, 3, 5, 6, 7, 8)):
      logits = head(params, np.concatenate([f[4], f[place]]))
      expected.append(cross_entropy(logits, label))
      right.append(logits.argmax() == label)
      swapped.append(cross_entropy(head(params, np.concatenate([f[place], f[4]])), label))
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  np.testing.assert_allclose(value, np.mean(expected), rtol=1e-4)
  np.testing.assert_allclose(metrics["position_accuracy"], np.mean(right), atol=1e-6)
  assert abs(np.mean(swapped) - np.mean(expected)) > 1e-3  # centre first: the order matters


def test_colour_guard_is_in_the_view_and_can_be_left_out():
  batch = make_batch(channels=3)
  image = batch["x"]
  where = ops.layout(image.shape[1:3], 3, 1.0, 0.5, 0.0)
  assert where.jitter == (0, 0)
  cut = ops.cut(image, jnp.tile(where.first, (6, 1, 1)), where.size)
  plain = make("context_prediction", TINY, crop=1.0, jitter=0.0, drop_colour=False).transform(KEY, batch)["tiles"]
  np.testing.assert_allclose(plain, cut, atol=1e-6)
  guarded = make("context_prediction", TINY, crop=1.0, jitter=0.0).transform(KEY, batch)["tiles"]
  assert (np.isclose(guarded, cut, atol=1e-6).all((2, 3)).sum(-1) == 1).all()


def test_context_pictures_show_the_neighbour_at_its_place_and_where_it_is_guessed():
  pretext, batch = make("context_prediction", TINY, crop=1.0, jitter=0.0), make_batch(40)
  params, state = pretext.init(KEY, batch)
  bias = params["head"]["Dense_1"]["bias"].at[2].set(1e6)  # always: top right
  params["head"]["Dense_1"]["bias"] = bias
  shown = jax.device_get(pretext.show(params, state, KEY, batch))
  where = ops.layout((14, 17), 3, 1.0, 0.5, 0.0)
  area = [(slice(y, y + where.size[0]), slice(x, x + where.size[1])) for y, x in where.first]
  places, right = set(), 0
  for image, pair, guess in zip(
    shown["original"], shown["tile and neighbour"], shown["where it is guessed"], strict=True
  ):
    filled = [k for k in range(9) if (pair[area[k]] != 0.5).any()]
    assert len(filled) == 2
    assert 4 in filled
    assert (pair != 0.5).sum() == 2 * np.prod(where.size)
    np.testing.assert_array_equal(pair[pair != 0.5], image[pair != 0.5])
    assert [k for k in range(9) if (guess[area[k]] != 0.5).any()] == [2, 4]
    neighbour = next(k for k in filled if k != 4)
    np.testing.assert_array_equal(guess[area[2]], image[area[neighbour]])
    places.add(neighbour)
    right += neighbour == 2
    assert np.array_equal(guess, pair) == (neighbour == 2)
  assert len(places) == 8
  assert right
