"""Temporal colour: where features point to, what is copied from there, clusters of colours, and what may be seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, build, jitted, prepared

from sslx import nn
from sslx.ops import color
from sslx.pretext.families.colour import cell_means
from sslx.pretext.families.pointers import pointers
from sslx.pretext.temporal_colour import change_grey, colour_accuracy, draw_frames, features
from sslx.types import Refusal, UserError

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


# the loss


def settled(state, number: int = 4):
  """The state with clusters that do not move any more."""
  centres = 40 * np.random.default_rng(3).standard_normal((number, 2)).astype(np.float32)
  frozen = {"centres": centres, "counts": np.full(number, 9, np.float32), "steps": np.int32(10**6)}
  return {**state, "clusters": frozen}


@pytest.mark.parametrize("references", [1, 2])
def test_the_loss_equals_loops(references):
  """Every frame that was drawn is the target once, and copies the clusters of all others from where it points to."""
  pretext, params, state, view = start(references=references, clusters=4, smooth=0.05, temperature=0.3)
  state = settled(state)
  f, _ = features(nn.build(TINY).body, params, state, view["x"], True)
  b, n, h, w, d = f.shape
  ab = np.asarray(cell_means(view["ab"], (h, w))).reshape(b, n, h * w, 2)
  kind = np.square(ab[..., None, :] - state["clusters"]["centres"]).sum(-1).argmin(-1)
  f = np.float64(f).reshape(b, n, h * w, d)
  values, hits = [], []
  for i, target in np.ndindex(b, n):
    others = [j for j in range(n) if j != target]
    weight = np.exp(np.concatenate([f[i, target] @ f[i, j].T for j in others], axis=1) / 0.3)
    weight /= weight.sum(1, keepdims=True)
    copied = weight @ np.eye(4)[np.concatenate([kind[i, j] for j in others])]
    right = copied[np.arange(h * w), kind[i, target]]
    values.append(-np.log(0.95 * right + 0.05 / 4).mean())
    hits.append((copied.argmax(1) == kind[i, target]).mean())
  loss, (after, metrics) = pretext.loss(params, state, KEY, view)
  np.testing.assert_allclose(loss, np.mean(values), rtol=1e-5)
  np.testing.assert_allclose(metrics["accuracy"], np.mean(hits), atol=1e-6)
  same = np.mean([kind[:, :1] == kind[:, 1:]])
  np.testing.assert_allclose(metrics["accuracy_same_place"], same, atol=1e-6)
  np.testing.assert_array_equal(after["clusters"]["centres"], state["clusters"]["centres"])


def test_the_first_steps_find_the_clusters():
  pretext, params, state, view = start()
  assert state["clusters"]["steps"] == 0
  _, (after, _) = pretext.loss(params, state, KEY, view)
  assert after["clusters"]["steps"] == 1
  assert after["clusters"]["counts"].sum() == 3 * 2 * 36
  assert np.ptp(after["clusters"]["centres"], axis=0).min() > 5


def test_accuracy_of_colours_at_a_distance():
  """Of a clip whose frames are one picture, moved by a place a frame, against loops; copying the same place is what the
  clusters of two frames have in common.
  """
  _, params, state, _ = start(clusters=4)
  state, encoder = settled(state), nn.build(TINY)
  x = np.stack([np.roll(clips(2, 1, 12)[:, 0], 2 * t, axis=2) for t in range(5)], axis=1)
  found = {name: np.asarray(v) for name, v in colour_accuracy(encoder, params, state, x, 3, 0.1, 0).items()}
  f = np.asarray(features(encoder.body, params, state, color.grey(x), False)[0])
  ab = np.asarray(cell_means(color.rgb_to_lab(x)[..., 1:], f.shape[2:4]))
  kind = np.square(ab[..., None, :] - state["clusters"]["centres"]).sum(-1).argmin(-1).reshape(2, 5, -1)
  f = f.reshape(2, 5, -1, f.shape[-1])
  for i in range(2):
    right, same = [], []
    for t in (3, 4):
      weight = np.exp(np.float64(f[i, t]) @ f[i, t - 3].T / 0.1)
      right.append((weight @ np.eye(4)[kind[i, t - 3]]).argmax(1) == kind[i, t])
      same.append(kind[i, t - 3] == kind[i, t])
    np.testing.assert_allclose(found["copied"][i], np.mean(right), atol=0.03)  # a tie may fall either way
    np.testing.assert_allclose(found["same_place"][i], np.mean(same), atol=1e-6)
    np.testing.assert_allclose(found["most_frequent"][i], np.bincount(kind[i, 3:].ravel()).max() / 72, atol=1e-6)


@pytest.mark.parametrize(
  ("hp", "told"),
  [
    ({"references": 0}, "--hp=references=0: must be at least 1"), ({"window": -1}, "--hp=window=-1"),
    ({"clusters": 1}, "--hp=clusters=1"), ({"strength": 1.5}, "--hp=strength=1.5"), ({"smooth": 0.0}, "--hp=smooth=0"),
    ({"temperature": 0.0}, "--hp=temperature=0"),
  ],
)  # fmt: skip
def test_hyper_parameters_out_of_range(hp, told):
  with pytest.raises(UserError, match=told):
    build("temporal_colour", TINY, hp)


def test_what_it_refuses():
  """Clips that are too short for what is drawn of them, grey ones, and encoders without places."""
  method = build("temporal_colour", TINY, {"references": 2})
  with pytest.raises(UserError, match="frames"):
    method.transform(KEY, {"x": clips(2, 2)})
  with pytest.raises(Refusal, match="in colour"):
    method.init(KEY, {"x": clips()[..., :1]})
  with pytest.raises(Refusal, match="--encoder=grid"):
    build("temporal_colour", "frames+mlp:widths=8", {}).init(KEY, {"x": clips()})
