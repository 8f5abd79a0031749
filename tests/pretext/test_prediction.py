"""CPC and CPC v2: patches, causal contexts, the loss against loops, four directions, patch-wise views, refusals."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, apply, build, init, jitted, pixels, prepared, trained

from sslx import losses, nn
from sslx.ops import tiles as ops
from sslx.pretext.families import prediction as patches
from sslx.training import optim
from sslx.types import UserError

TINY = "conv:widths=4"
SMALL = {"width": 5, "depth": 1}


@functools.cache
def make(method, encoder=TINY, **hp):
  return jitted(build(method, encoder, {**SMALL, **hp}))


def make_batch(n=3, height=9, width=11, channels=1, seed=0):
  return {"x": prepared(pixels(n, height, width, channels, seed, least=1))}


def normal(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def perturbed(tree, seed=0):
  """A generic point: fresh predictions are zero, and zero hides mistakes."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: np.asarray(x) + 0.3 * rng.standard_normal(x.shape).astype(np.float32), tree)


# patches


def test_patches_overlap_by_half_and_fill_the_image():
  image = make_batch(4, 14, 17, 2)["x"]
  where = ops.overlapping(image.shape[1:3], 6)
  corners = np.asarray(ops.draw_corners(KEY, 4, where))
  tiles = np.asarray(ops.cut(image, corners, where.size)).reshape(4, 3, 4, 6, 6, 2)
  for b in range(4):
    top, left = corners[b, 0]
    assert 0 <= top <= 2
    assert 0 <= left <= 2
    for i, j in itertools.product(range(3), range(4)):
      np.testing.assert_array_equal(tiles[b, i, j], image[b, top + 3 * i : top + 3 * i + 6, left + 3 * j :][:, :6])
  assert len(np.unique(ops.draw_corners(KEY, 60, where)[:, 0], axis=0)) == 9  # wherever the grid fits
  for i, j in itertools.product(range(2), range(3)):
    np.testing.assert_array_equal(tiles[:, i, j, 3:], tiles[:, i + 1, j, :3])
    np.testing.assert_array_equal(tiles[:, i, j, :, 3:], tiles[:, i, j + 1, :, :3])


@pytest.mark.parametrize("parts", [6, 8])
def test_patches_suit_images_of_any_size(parts):
  for side in range(2, 130):
    where = patches.layout((side, side + 5), 0, parts)
    assert where.size[0] == where.size[1]
    rows, columns = map(len, where.starts)
    assert 2 <= rows <= max(7, parts - 1)
    assert columns >= rows
    step = max(1, where.size[0] // 2)
    assert max(where.spare) < step  # no further patch fits
    assert where.starts[0][-1] + where.size[0] + where.spare[0] == side
  known = {8: {28: (8, 6), 32: (8, 7), 64: (16, 7), 27: (8, 5)}, 6: {28: (10, 4), 32: (12, 4), 64: (22, 4)}}
  for side, (size, rows) in known[parts].items():
    where = patches.layout((side, side), 0, parts)
    assert (where.size[0], len(where.starts[0])) == (size, rows)


# networks


@pytest.mark.parametrize(("net", "reach"), [(nn.ConvContext(9, 2), 2), (nn.GruContext(4, 2), 3)], ids=["conv", "gru"])
def test_context_is_causal(net, reach):
  """The Jacobian of row i in row j is exactly zero for j > i, and not for j <= i, as far as it reaches."""
  z = normal(1, 4, 3, 2)
  params = perturbed(init(net, KEY, z)[0])
  jacobian = np.abs(jax.jit(jax.jacrev(lambda z: apply(net, params, {}, z)[0]))(z))[0, ..., 0, :, :, :]
  rows, columns = jacobian.sum((1, 2, 4, 5)), jacobian.sum((0, 2, 3, 5))  # [r,c,D',r,c,D]
  expected = np.tril(np.ones((4, 4), bool)) & ~np.tril(np.ones((4, 4), bool), -reach - 1)
  np.testing.assert_array_equal(rows > 0, expected)
  assert columns.min() > 0  # columns see each other


def test_predictions_by_step():
  z = normal(2, 4, 3, 2)
  net = nn.RowPredictor(nn.ConvContext(5, 1), 1, 9, 6)
  params = perturbed(init(net, KEY, z)[0])
  context = apply(net.context, params["context"], {}, z)[0]
  predictions = apply(net, params, {}, z)[0]
  assert list(predictions) == [1, 2, 3]  # as many as there are rows
  for k, got in predictions.items():
    assert got.shape == (2, 4 - k, 3, 6)
    expected = np.asarray(context)[:, : 4 - k] @ params[f"after{k}"]["kernel"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
  assert len({p["kernel"].tobytes() for n, p in params.items() if n.startswith("after")}) == 3
  for (first, last), expected in {(2, 3): [2, 3], (2, 2): [2], (4, 6): [3], (1, 1): [1]}.items():
    net = nn.RowPredictor(nn.ConvContext(5, 1), first, last)
    fresh, _ = init(net, KEY, z)
    predictions = apply(net, fresh, {}, z)[0]
    assert list(predictions) == expected
    assert all(p.shape[-1] == 2 for p in predictions.values())  # as wide as z
    assert not any(np.any(p) for p in predictions.values())


@pytest.mark.parametrize("kind", ["conv:widths=6", "split:widths=6"])
def test_layer_norm_is_over_all_of_an_image(kind):
  x = make_batch(3, 5, 6, 3)["x"]
  shapes = [jax.tree.map(jnp.shape, init(nn.build(f"{kind},norm={norm}"), KEY, x)[0]) for norm in ("layer", "group")]
  assert shapes[0] == shapes[1]
  if kind.startswith("split"):
    return
  encoder = nn.build(f"{kind},down=none,norm=layer")
  params = perturbed(init(encoder, KEY, x)[0])["block1"]
  got = apply(encoder, {"block1": params}, {}, x)[0]["block1"]
  y = jax.lax.conv_general_dilated(
    x, params["Conv_0"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  mean, var = y.mean((1, 2, 3), keepdims=True), y.var((1, 2, 3), keepdims=True)
  norm = params["GroupNorm_0"]
  expected = np.maximum((y - mean) / np.sqrt(var + 1e-6) * norm["scale"] + norm["bias"], 0)
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
  ("encoder", "whether"),
  [
    ("conv", False), ("conv:norm=group", False), ("conv:norm=layer", False), ("conv:norm=batch", True),
    ("split:norm=layer", False), ("split:norm=batch", True), ("rotnet", False), ("resnet18", True), ("vit", False),
    ("mlp", False),
  ],
)  # fmt: skip
def test_encoders_say_whether_they_normalise_over_the_batch(encoder, whether):
  net = nn.build(encoder)
  assert net.batch_norm == whether
  _, stats = jax.eval_shape(functools.partial(nn.init, net), KEY, np.zeros((1, 8, 8, 3), np.float32))
  assert bool(stats) == whether


# loss


def test_identify_is_its_sum_over_all_candidates():
  predicted, candidates, label = normal(5, 3), normal(7, 3, seed=1), np.array([6, 0, 3, 3, 2])
  terms, right = [], 0
  for i in range(5):
    scores = [predicted[i] @ candidates[j] for j in range(7)]
    others = sum(np.exp(scores[j]) for j in range(7) if j != label[i])  # the target is no negative, and counts once
    terms.append(-np.log(np.exp(scores[label[i]]) / (np.exp(scores[label[i]]) + others)))
    right += np.argmax(scores) == label[i]
  loss, accuracy = losses.identify(predicted, candidates, label)
  np.testing.assert_allclose(loss, np.mean(terms), rtol=1e-5)
  np.testing.assert_allclose(accuracy, right / 5)
  for same in (np.zeros((5, 3), np.float32), predicted):  # all equally likely: chance
    loss, accuracy = losses.identify(same, np.ones((7, 3), np.float32), label)
    np.testing.assert_allclose(loss, np.log(7), rtol=1e-5)
    np.testing.assert_allclose(accuracy, 1 / 7, rtol=1e-5)
  assert losses.identify(1e3 * candidates, candidates / np.linalg.norm(candidates, axis=1)[:, None], np.arange(7)) == (
    pytest.approx(0, abs=1e-3),
    1,
  )


def point(method, batch=None, **hp):
  """(pretext, params, state, view) at a generic point."""
  pretext, batch = make(method, **hp), batch or make_batch()
  params, state = pretext.init(KEY, batch)
  return pretext, perturbed(params), state, pretext.transform(KEY, batch)


def assert_first_loss_is_log_n(pretext, state, view, batch):
  n = np.prod(view["patches"].shape[:3])
  value, (_, metrics) = pretext.loss(pretext.init(KEY, batch)[0], state, KEY, view)
  np.testing.assert_allclose(value, np.log(n), rtol=1e-5)
  for name in ("next_patch_accuracy", "patch_accuracy", "chance"):
    np.testing.assert_allclose(metrics[name], 1 / n, rtol=1e-4)


def z_grid(params, view):
  """z [B,r,c,D], patch by patch."""
  tiles = np.asarray(view["patches"])
  encoder = nn.build(TINY)
  one = jax.jit(lambda patch: apply(encoder, params["encoder"], {}, patch[None])[0]["block1"][0].mean((0, 1)))
  return np.stack([[[one(p) for p in row] for row in rows] for rows in tiles])


def naive(z, target, net, params, ks):
  """Mean over k of the mean over pairs, and the shares of right picks by k: grids [B,r,c,...], downwards."""
  b, r, c, _ = z.shape
  context = np.asarray(apply(net, params["context"], {}, z)[0])
  values, shares = [], []
  for k in ks:
    terms, right = [], []
    for n, i, j in itertools.product(range(b), range(r - k), range(c)):
      predicted = context[n, i, j] @ params[f"after{k}"]["kernel"]
      scores = {(m, p, q): predicted @ target[m, p, q] for m, p, q in itertools.product(range(b), range(r), range(c))}
      mine = scores.pop((n, i + k, j))
      negatives = np.array(list(scores.values()))
      assert len(negatives) == b * r * c - 1
      terms.append(np.log(np.exp(mine) + np.exp(negatives).sum()) - mine)
      right.append(mine > negatives.max())
    values.append(np.mean(terms))
    shares.append(np.mean(right))
  return np.mean(values), shares


@pytest.mark.parametrize(("context", "skip", "ks"), [("conv", 0, (1, 2)), ("gru", 1, (2,))])
def test_cpc_is_its_equation(context, skip, ks):
  batch = make_batch(2, 9, 6)
  pretext, params, state, view = point("cpc", batch, patch=4, ahead=2, skip=skip, context=context)
  assert view["patches"].shape == (2, 3, 2, 4, 4, 1)
  z = z_grid(params, view)
  net = {"conv": nn.ConvContext, "gru": nn.GruContext}[context](**SMALL)
  expected, shares = naive(z, z, net, params["context"]["down"], ks)
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  np.testing.assert_allclose(metrics["next_patch_accuracy"], shares[0], atol=1e-6)
  np.testing.assert_allclose(metrics["patch_accuracy"], np.mean(shares), atol=1e-6)
  assert_first_loss_is_log_n(pretext, state, view, batch)


def test_four_directions_are_one_on_the_turned_grid():
  batch = make_batch(2, 8, 11)
  pretext, params, state, view = point("cpc_v2", batch, patch=4, ahead=2, target=3)
  z = z_grid(params, view)
  target = z @ params["embed"]["Dense_0"]["kernel"]
  net, values = nn.ConvContext(**SMALL), []
  assert set(params["context"]) == {"down", "up", "right", "left"}
  for direction, turns in {"down": 0, "right": -1, "up": 2, "left": 1}.items():
    # np.rot90 mirrors columns where our turn does not: undone, as 1x3 kernels tell left from right
    turned = [np.rot90(grid, turns, axes=(1, 2)) for grid in (z, target)]
    turned = [grid[:, :, ::-1] if direction in ("up", "right") else grid for grid in turned]
    value, _ = naive(*turned, net, params["context"][direction], range(1, min(3, turned[0].shape[1])))
    values.append(value)
  assert len({round(float(v), 4) for v in values}) == 4
  np.testing.assert_allclose(pretext.loss(params, state, KEY, view)[0], np.mean(values), rtol=1e-4)
  assert_first_loss_is_log_n(pretext, state, view, batch)


def test_patches_do_not_see_each_other_in_the_encoder():
  """Whatever the last row becomes, in training mode and with normalisation the z of the others stay."""
  encoder = nn.build("conv:widths=4,norm=layer")
  tiles = np.asarray(make("cpc", patch=4).transform(KEY, make_batch(1))["patches"])[0]
  params, _ = init(encoder, KEY, tiles[0])
  run = jax.jit(lambda x: apply(encoder, params, {}, x, train=True)[0]["block1"])
  before = np.asarray(run(tiles.reshape(-1, 4, 4, 1))).reshape(*tiles.shape[:2], -1)
  tiles = np.concatenate([tiles[:-1], 1 - tiles[-1:]])
  after = np.asarray(run(tiles.reshape(-1, 4, 4, 1))).reshape(before.shape)
  np.testing.assert_array_equal(before[:-1], after[:-1])
  assert np.any(before[-1] != after[-1])


def test_pictures_show_true_patches_in_their_places():
  batch = make_batch(2, 13, 14)
  pretext, params, state, _ = point("cpc", batch, patch=4, ahead=2)
  shown = {title: np.asarray(image) for title, image in pretext.show(params, state, KEY, batch).items()}
  true, picked = shown["context and true patches"], shown["context and picked"]
  hidden = true == 0.5  # no pixel of these images
  np.testing.assert_array_equal(true[~hidden], shown["original"][~hidden])
  np.testing.assert_array_equal(picked == 0.5, hidden)
  assert 0 < hidden.mean() < 0.7
  assert np.any(picked != true)


# views


def test_each_patch_draws_its_own_view():
  """A constant image has equal patches: their views differ, all of them, and those of `cpc` do not."""
  grey = {"x": prepared(np.full((2, 12, 12, 1), 90))}
  tiles = np.asarray(make("cpc_v2").transform(KEY, grey)["patches"])
  count = int(np.prod(tiles.shape[:3]))
  assert len(np.unique(tiles.reshape(count, -1), axis=0)) == count
  tiles = np.asarray(make("cpc").transform(KEY, grey)["patches"])
  assert np.ptp(tiles) == 0
  colour = {"x": prepared(np.broadcast_to([200, 120, 40], (2, 12, 12, 3)))}
  still = "photos:crop=1,flip=0,jitter=0,grey=0"
  tiles = np.asarray(make("cpc_v2", views=still).transform(KEY, colour)["patches"]).reshape(count, -1, 3)
  kept = np.isclose(tiles.mean(1)[:, :, None] * 255, [200, 120, 40], atol=1).any(1).argmax(1)
  assert set(kept) == {0, 1, 2}  # each patch one channel of its own
  plain = np.asarray(make("cpc_v2", views=still, drop_colour=False).transform(KEY, colour)["patches"])
  np.testing.assert_allclose(plain.reshape(-1, 3), np.array([[200, 120, 40]]) / 255 + np.zeros((plain.size // 3, 1)))


# refusals


@pytest.mark.parametrize("method", ["cpc", "cpc_v2"])
@pytest.mark.parametrize("encoder", ["mlp", "conv:code=4", "conv:norm=batch", "resnet18"])
def test_encoders_that_do_not_fit_are_refused(method, encoder):
  with pytest.raises(UserError, match=f"--method={method}: .*--encoder=conv") as refused:
    build(method, encoder, {})
  assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
  "hp",
  [
    {"patch": -1}, {"ahead": 0}, {"skip": -1}, {"skip": 3}, {"width": 0}, {"depth": 0},
    {"target": 0}, {"views": "photo"},
  ],
  ids=str,
)  # fmt: skip
def test_bad_hyper_parameters(hp):
  for method in ("cpc", "cpc_v2"):
    if method == "cpc_v2" or not {"target", "views"} & set(hp):
      with pytest.raises(UserError, match=f"^--hp={next(iter(hp))}="):
        build(method, TINY, hp)


def test_images_too_small_are_refused():
  with pytest.raises(UserError, match=r"images of 1x9 are too small .* --image_size"):
    make("cpc").transform(KEY, make_batch(height=1, width=9))
  with pytest.raises(UserError, match=r"^--hp=patch=8: images of 11x20"):
    make("cpc", patch=8).transform(KEY, make_batch(height=11, width=20))
  assert make("cpc", patch=8).transform(KEY, make_batch(height=12, width=20))["patches"].shape[1:3] == (2, 4)
  with pytest.raises(UserError, match="no output for patches of 2x2"):
    make("cpc", "rotnet").init(KEY, make_batch(height=8, width=8))


# learning


@pytest.mark.parametrize(("method", "hp"), [("cpc", {"context": "gru"}), ("cpc_v2", {})])
def test_patches_are_told_better_than_by_chance(method, hp, toy):
  pretext = make(method, "conv:widths=8,norm=layer", width=16, ahead=2, **hp)
  rows = trained(pretext, optim.optimizer(1e-2), toy.train.x, steps=40, batch_size=16, log_every=10)
  assert rows[-1]["loss"] < -np.log(rows[-1]["chance"]) - 0.3
  assert rows[-1]["next_patch_accuracy"] > 3 * rows[-1]["chance"]
