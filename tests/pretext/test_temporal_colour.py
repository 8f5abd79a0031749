"""Temporal colour: where features point to, what is copied from there, clusters of colours, and what may be seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, build, jitted, prepared

from sslx import nn
from sslx.ops import color
from sslx.pretext.families.clusters import nearest
from sslx.pretext.families.colour import cell_means
from sslx.pretext.families.pointers import pointers
from sslx.pretext.temporal_colour import SETTLE, change_grey, colour_accuracy, draw_frames, features
from sslx.types import UserError

TINY = "frames+grid:widths=8-8,depth=1,code=8"  # places of 2x2 pixels


def clips(n: int = 3, frames: int = 5, size: int = 12, seed: int = 0) -> np.ndarray:
  """Prepared clips of random pixels."""
  raw = np.random.default_rng(seed).integers(0, 256, (n, frames, size, size, 3), dtype=np.uint8)
  return prepared(raw)


def start(**hp):
  """(method, params, state, view)"""
  pretext, batch = jitted(build("temporal_colour", TINY, hp)), {"x": clips()}
  return pretext, *pretext.init(KEY, batch), pretext.transform(KEY, batch)


# which frames


def test_frames_are_drawn_around_the_target():
  """Different frames, up to gap before and after, all of them alike often."""
  keys = jax.random.split(KEY, 4000)
  drawn = np.asarray(jax.jit(jax.vmap(lambda key: draw_frames(key, 9, 2, 3)))(keys))
  distance = drawn[:, 1:] - drawn[:, :1]
  assert set(np.abs(distance).ravel()) == {1, 2, 3}
  assert (drawn[:, 1] != drawn[:, 2]).all()
  assert ((drawn >= 0) & (drawn < 9)).all()
  counts = np.bincount(drawn[:, 0], minlength=9)
  assert counts.min() > 370
  middle = distance[drawn[:, 0] == 4].ravel()
  share = np.array([(middle == d).mean() for d in (-3, -2, -1, 1, 2, 3)])
  np.testing.assert_allclose(share, 1 / 6, atol=0.05)


def test_a_view_is_grey_frames_with_their_own_colours():
  """With strength=0 the grey of a frame, and the ab of the same one, of the same clip."""
  x = clips(6, 7)
  view = jitted(build("temporal_colour", TINY, {"strength": 0.0, "gap": 2})).transform(KEY, {"x": x})
  assert view["x"].shape == (6, 2, 12, 12, 3)
  for i in range(6):
    t = []
    for n in range(2):
      grey = np.asarray(color.grey(x[i]))
      (match,) = np.flatnonzero(np.abs(grey - view["x"][i, n]).max((1, 2, 3)) < 1e-6)
      np.testing.assert_allclose(view["ab"][i, n], color.rgb_to_lab(x[i, match])[..., 1:], atol=1e-3)
      t.append(match)
    assert 1 <= abs(t[0] - t[1]) <= 2


def test_changed_greys_stay_grey_and_are_drawn_for_each_frame():
  x = np.full((40, 2, 24, 24, 3), 0.5, np.float32)
  x[:, :, :, 12:] = 0.75
  made = np.asarray(change_grey(KEY, x, 0.4))
  np.testing.assert_array_equal(made[..., 0], made[..., 1])
  np.testing.assert_array_equal(made[..., 0], made[..., 2])
  left, right = made[..., :12, 0].mean((2, 3)), made[..., 12:, 0].mean((2, 3))
  contrast, shift, noise = (right - left) / 0.25, left - 0.5, made[..., :12, 0].std((2, 3))
  for value, low, high, slack in ((contrast, 0.6, 1.4, 0.06), (shift, -0.2, 0.2, 0.02), (noise, 0, 0.1, 0.01)):
    assert value.min() > low - slack
    assert value.max() < high + slack
    assert np.ptp(value) > 0.8 * (high - low)
    assert abs(np.corrcoef(value[:, 0], value[:, 1])[0, 1]) < 0.5
  np.testing.assert_array_equal(change_grey(KEY, x, 0.0), x)


# no colour reaches the encoder


def slopes(pretext, params, state, x, of) -> float:
  """The largest derivative of a random projection of what a step reads, with regard to a and b of all pixels of the
  clips, at the same lightness.
  """
  lab = np.asarray(color.rgb_to_lab(x))
  rng = np.random.default_rng(1)

  def projected(ab):
    view = pretext.transform(KEY, {"x": color.lab_to_rgb(jnp.concatenate([lab[..., :1], ab], axis=-1))})
    read = of(view)
    return (read * rng.standard_normal(read.shape)).sum()

  return float(jnp.abs(jax.jit(jax.grad(projected))(lab[..., 1:])).max())


def test_no_colour_reaches_the_encoder(monkeypatch):
  """Features do not change with a and b of any pixel. Without greying they do, and what is to be told does anyway."""
  pretext, params, state, _ = start()
  x = 0.3 + 0.4 * clips(2, 3)  # inside of what sRGB can show, so that nothing is clipped

  def read(view):
    return features(nn.build(TINY).body, params, state, view["x"], True)[0]

  grey = slopes(pretext, params, state, x, read)
  assert slopes(pretext, params, state, x, lambda view: view["ab"]) > 0.5
  monkeypatch.setattr(color, "grey", lambda x: x)
  coloured = slopes(build("temporal_colour", TINY), params, state, x, read)
  assert coloured > 1e-2
  assert grey < 1e-5 * coloured


# pointers


def test_pointers_equal_a_loop():
  """Over all places of two references, and over those of a window."""
  rng = np.random.default_rng(0)
  h, w, d, r = 3, 4, 5, 2
  target, references = rng.standard_normal((2, h, w, d)), rng.standard_normal((2, r, h, w, d))
  for window in (0, 1):
    made = pointers(jnp.asarray(target), jnp.asarray(references), 0.5, window)
    expected = np.zeros((2, h, w, r, h, w))
    for b, i, j in np.ndindex(2, h, w):
      for n, k, m in np.ndindex(r, h, w):
        if not window or max(abs(i - k), abs(j - m)) <= window:
          expected[b, i, j, n, k, m] = np.exp(target[b, i, j] @ references[b, n, k, m] / 0.5)
      expected[b, i, j] /= expected[b, i, j].sum()
    np.testing.assert_allclose(made, expected.reshape(2, h * w, r * h * w), rtol=1e-4, atol=1e-7)


def test_of_a_clip_that_stands_still_each_place_points_to_itself():
  """Features of n places that are orthogonal: e^(1/T) to itself and 1 to each other place."""
  f = jnp.eye(12).reshape(1, 3, 4, 12)
  made = np.asarray(pointers(f, f[:, None], 0.1, 0))[0]
  np.testing.assert_allclose(made, (1 + (np.exp(10) - 1) * np.eye(12)) / (np.exp(10) + 11), rtol=1e-5)


def test_cells():
  x = np.random.default_rng(0).random((2, 3, 8, 12, 2)).astype(np.float32)
  expected = x.reshape(2, 3, 4, 2, 3, 4, 2).mean((3, 5))
  np.testing.assert_allclose(cell_means(x, (4, 3)), expected, rtol=1e-5)
  ramp = np.arange(5, dtype=np.float32)[None, None, :, None, None] * np.ones((1, 1, 5, 7, 1), np.float32)
  made = np.asarray(cell_means(ramp, (2, 3)))  # cells of 2.5 rows: 0, 1 and half of 2
  np.testing.assert_allclose(made[0, 0, :, :, 0], np.float32([[0.8] * 3, [3.2] * 3]), rtol=1e-5)


# loss


def test_loss_equals_a_loop():
  """Each frame is the target once, copied from the two others; the clusters are those that this batch finds."""
  hp = {"references": 2, "temperature": 0.2, "clusters": 4, "smooth": 0.05, "strength": 0.3}
  pretext, params, state, view = start(**hp)
  value, (after, metrics) = pretext.loss(params, state, KEY, view)
  f = np.float64(features(nn.build(TINY).body, params, state, view["x"], True)[0]).reshape(3, 3, 36, 8)
  np.testing.assert_allclose((f**2).sum(-1), 1, rtol=1e-5)
  ab = np.asarray(view["ab"]).reshape(3, 3, 6, 2, 6, 2, 2).mean((3, 5)).reshape(3, 3, 36, 2)
  square = ((ab[..., None, :] - np.asarray(after["clusters"]["centres"])) ** 2).sum(-1)
  kind = square.argmin(-1)
  each, right, same = [], [], []
  for b, t, i in np.ndindex(3, 3, 36):
    others = [r for r in range(3) if r != t]
    weight = np.exp(np.concatenate([f[b, r] @ f[b, t, i] for r in others]) / 0.2)
    kinds = np.concatenate([kind[b, r] for r in others])
    p = np.array([weight[kinds == k].sum() for k in range(4)]) / weight.sum()
    each.append(-np.log(0.95 * p[kind[b, t, i]] + 0.05 / 4))
    right.append(p.argmax() == kind[b, t, i])
    same += [kind[b, r, i] == kind[b, t, i] for r in others]
  assert value == pytest.approx(np.mean(each), rel=1e-4)
  assert metrics["accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
  assert metrics["accuracy_same_place"] == pytest.approx(np.mean(same), abs=1e-6)
  assert len(set(kind.ravel())) == 4


def test_clusters_move_with_the_first_batches_only():
  pretext, params, state, view = start()
  assert state["clusters"]["steps"] == 0
  _, (moved, _) = pretext.loss(params, state, KEY, view)
  other = pretext.transform(jax.random.key(5), {"x": clips(seed=3)})
  _, (again, _) = pretext.loss(params, moved, KEY, other)
  assert np.abs(again["clusters"]["centres"] - moved["clusters"]["centres"]).max() > 1e-3
  late = {**moved, "clusters": {**moved["clusters"], "steps": jnp.int32(SETTLE)}}
  _, (frozen, _) = pretext.loss(params, late, KEY, other)
  np.testing.assert_array_equal(frozen["clusters"]["centres"], moved["clusters"]["centres"])


def test_a_loss_without_the_right_colour_is_finite():
  """One frame is red, the other green: of the right colour, its part of `smooth` is predicted; there is no gradient."""
  pretext, params, state, view = start(strength=0.0)
  ab = np.zeros((3, 2, 12, 12, 2), np.float32) + np.float32([[80, 60], [-80, 60]])[:, None, None]
  grad = jax.value_and_grad(pretext.loss, has_aux=True)
  (value, _), slope = grad(params, state, KEY, {**view, "ab": ab})
  assert value == pytest.approx(-np.log(0.01 / 16), rel=1e-5)
  assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope))


# what a report shows, and what is measured


def coloured_clip(still: bool) -> np.ndarray:
  """A clip [1,6,12,12,3] of random cells of 2x2 pixels; its colours move by a cell a frame, or stay."""
  cells = np.random.default_rng(2).random((6, 6, 3)).astype(np.float32)
  frames = [cells if still else np.roll(cells, t, 1) for t in range(6)]
  return np.stack(frames).repeat(2, 1).repeat(2, 2)[None]


def test_colours_of_a_clip_that_stands_still_are_copied_from_the_same_place():
  """At a low temperature: each place of a still clip is most like itself."""
  x = coloured_clip(still=True)
  pretext = jitted(build("temporal_colour", TINY, {"temperature": 1e-4}))
  params, state = pretext.init(KEY, {"x": x})
  shown = pretext.show(params, state, KEY, {"x": x})
  assert set(shown) == {"clip", "what it sees", "copied colours", "copied from"}
  copied = np.asarray(color.rgb_to_lab(shown["copied colours"]))[..., 1:]
  true = np.asarray(color.rgb_to_lab(x))[..., 1:]
  middle = (slice(None), slice(None), slice(2, 10), slice(2, 10))  # colours are smooth between the middles of cells
  assert np.corrcoef(copied[middle].ravel(), true[middle].ravel())[0, 1] > 0.8
  np.testing.assert_array_equal(shown["clip"], x)
  np.testing.assert_array_equal(shown["what it sees"], color.grey(x))
  np.testing.assert_array_equal(shown["copied from"], np.repeat(x[:, :1], 6, 1))


@pytest.mark.parametrize("still", [True, False])
def test_colour_accuracy_equals_a_loop(still):
  """Two frames apart, of each frame that has one so far before it."""
  x = np.concatenate([coloured_clip(still), clips(1, 6)])
  encoder = nn.build(TINY)
  pretext = jitted(build("temporal_colour", TINY, {"clusters": 5}))
  params, state = pretext.init(KEY, {"x": x})
  _, (state, _) = pretext.loss(params, state, KEY, pretext.transform(KEY, {"x": x}))
  made = colour_accuracy(encoder, params, state, x, 2, 0.1, 0)
  f = np.float64(features(encoder.body, params, state, color.grey(x), False)[0]).reshape(2, 6, 36, 8)
  kind = np.asarray(nearest(state["clusters"]["centres"], cell_means(color.rgb_to_lab(x)[..., 1:], (6, 6))))
  kind = kind.reshape(2, 6, 36)
  for b in range(2):
    copied = []
    for t in range(2, 6):
      weight = np.exp(f[b, t] @ f[b, t - 2].T / 0.1)
      copied += [np.argmax(w @ np.eye(5)[kind[b, t - 2]]) == k for w, k in zip(weight, kind[b, t], strict=True)]
    assert made["copied"][b] == pytest.approx(np.mean(copied), abs=1e-6)
    assert made["same_place"][b] == pytest.approx((kind[b, 2:] == kind[b, :-2]).mean(), abs=1e-6)
    assert made["most_frequent"][b] == pytest.approx(np.bincount(kind[b, 2:].ravel()).max() / (4 * 36), abs=1e-6)
  assert (made["same_place"][0] == 1) == still


# what it refuses


@pytest.mark.parametrize(
  ("encoder", "hp", "x", "message"),
  [
    ("conv", {}, clips(), "--method=temporal_colour: reads clips.*--encoder=grid"),
    ("frames+mlp", {}, clips(), "--method=temporal_colour: needs features of places.*--encoder=grid"),
    (TINY, {}, clips()[..., :1], "--method=temporal_colour: needs clips in colour"),
    (TINY, {"references": 5}, clips(), "--hp=references=5: at most 4"),
    (TINY, {"references": 3, "gap": 2}, clips(), "--hp=references=3: at most 2"),
    (TINY, {}, clips(2, 1), "--hp=references=1: at most 0, for clips of 1 frames"),
    (TINY, {"clusters": 1}, clips(), "--hp=clusters=1"),
    (TINY, {"temperature": 0.0}, clips(), "--hp=temperature=0"),
    (TINY, {"window": -1}, clips(), "--hp=window=-1"),
    (TINY, {"strength": 1.5}, clips(), "--hp=strength=1.5"),
    (TINY, {"smooth": 0.0}, clips(), "--hp=smooth=0"),
  ],
)
def test_refusals(encoder, hp, x, message):
  with pytest.raises(UserError, match=message):
    jax.eval_shape(build("temporal_colour", encoder, hp).init, KEY, {"x": x})
