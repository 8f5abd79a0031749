"""What is particular to each method; what all share is in test_contract.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import losses, nn
from sslx.pretext import METHODS, build, check
from sslx.pretext.autoencode import decoder_for
from sslx.pretext.rotation import rotate
from sslx.types import UserError

KEY = jax.random.key(0)
TINY = "mlp:widths=6,code=4"


@functools.cache
def make(method, encoder=TINY, classes=3, **hp):
  """The method, jitted."""
  pretext = build(method, nn.build(encoder), "flatten", classes, hp)
  return pretext._replace(**{n: jax.jit(getattr(pretext, n)) for n in ("init", "loss", "transform", "encode")})


def make_batch(n=6, height=6, width=6, channels=1, seed=0):
  rng = np.random.default_rng(seed)
  return {
    "image": rng.integers(0, 256, (n, height, width, channels), dtype=np.uint8),
    "label": rng.integers(0, 3, n, dtype=np.int32),
  }


@pytest.fixture(scope="module")
def batch():
  return make_batch()


@pytest.fixture(scope="module")
def autoencoder(batch):
  return make("autoencode").init(KEY, batch)


# table


def test_check_names_the_nearest():
  with pytest.raises(UserError, match=r"--method=simlcr: no such method\. Did you mean 'simclr'"):
    check("simlcr")
  assert check("denoise") is METHODS["denoise"]


# autoencoder


def test_decode_is_the_way_from_the_last_block_to_the_reconstruction(batch):
  """For a flat and a spatial code, and for another batch size and image size than at init."""
  for spec in (TINY, "conv:widths=4-3", "conv:widths=4,code=3"):
    pretext, encoder = make("autoencode", spec), nn.build(spec)
    params, state = pretext.init(KEY, batch)
    other = make_batch(2)
    code = nn.apply(encoder, params["encoder"], state["encoder"], other["image"] / 255.0)[0][encoder.block_names[-1]]
    shown = pretext.show(params, state, KEY, other)["reconstruction"]
    np.testing.assert_allclose(pretext.decode(params, state, code, (6, 6, 1)), shown, atol=1e-6, err_msg=spec)


def test_tied_decoder_is_the_transposed_encoder(batch):
  pretext = make("autoencode", decoder="tied", output="linear", loss="mse")
  params, state = pretext.init(KEY, batch)
  assert set(params["decoder"]) == {"bias0", "bias1"}
  params["decoder"] = {"bias0": np.arange(6.0, dtype=np.float32) / 9, "bias1": np.ones(36, np.float32) / 7}
  kernels = [np.float64(params["encoder"][name]["Dense_0"]["kernel"]) for name in ("dense1", "code")]
  biases = [np.float64(params["encoder"][name]["Dense_0"]["bias"]) for name in ("dense1", "code")]
  h = np.maximum((batch["image"] / 255.0).reshape(6, -1) @ kernels[0] + biases[0], 0)
  h = (h @ kernels[1] + biases[1]) @ kernels[1].T + params["decoder"]["bias0"]
  expected = np.maximum(h, 0) @ kernels[0].T + params["decoder"]["bias1"]
  x = batch["image"] / 255.0
  value, _ = pretext.loss(params, state, KEY, pretext.transform(KEY, batch))
  np.testing.assert_allclose(value, np.square(expected.reshape(x.shape) - x).mean(), rtol=1e-4)


def test_autoencoder_is_its_equation(batch, autoencoder):
  params, state = autoencoder
  x = batch["image"] / 255.0
  dense = jax.tree.map(np.float64, params)
  layers = [dense["encoder"]["dense1"], dense["encoder"]["code"], dense["decoder"]]
  h = x.reshape(len(x), -1)
  for layer, relu in ((layers[0]["Dense_0"], True), (layers[1]["Dense_0"], False), (layers[2]["Dense_0"], True)):
    h = h @ layer["kernel"] + layer["bias"]
    h = np.maximum(h, 0) if relu else h
  p = 1 / (1 + np.exp(-(h @ layers[2]["Dense_1"]["kernel"] + layers[2]["Dense_1"]["bias"]))).reshape(x.shape)
  pretext = make("autoencode")
  value, _ = pretext.loss(params, state, KEY, pretext.transform(KEY, batch))
  np.testing.assert_allclose(value, -(x * np.log(p) + (1 - x) * np.log(1 - p)).mean(), rtol=1e-4)
  np.testing.assert_allclose(pretext.show(params, state, KEY, batch)["reconstruction"], p, atol=1e-4)
  squares = make("autoencode", loss="mse")
  value, _ = squares.loss(params, state, KEY, squares.transform(KEY, batch))
  np.testing.assert_allclose(value, ((p - x) ** 2).mean(), rtol=1e-4)


@pytest.mark.parametrize("method", ["autoencode", "denoise"])
def test_unfit_output_and_loss_are_refused_before_training(method):
  for hp in ({"output": "relu"}, {"output": "linear"}, {"loss": "l1"}):
    with pytest.raises(UserError, match="--hp="):
      make(method, **hp)


def test_decoder_mirrors_the_encoder():
  shape = (28, 28, 1)

  def outputs(spec):
    encoder, x = nn.build(spec), np.zeros((1, *shape), np.float32)
    found = jax.eval_shape(lambda: nn.apply(encoder, *nn.init(encoder, KEY, x), x)[0])
    return {name: found[name] for name in encoder.block_names}  # eval_shape sorts

  conv = outputs("conv:widths=4-8-16")
  assert decoder_for("auto", (), conv, shape) == nn.ConvDecoder(shape, (16, 8, 4))
  assert decoder_for("auto", (), outputs("conv:widths=4-8,code=3"), shape) == nn.ConvDecoder(shape, (8, 4))
  assert decoder_for("auto", (), outputs("mlp:widths=9-7,code=3"), shape) == nn.MlpDecoder(shape, (7, 9))
  assert decoder_for("auto", (), outputs("mlp:widths=9-7,code=0"), shape) == nn.MlpDecoder(shape, (9,))
  assert decoder_for("auto", (5, 6), conv, shape) == nn.ConvDecoder(shape, (5, 6))
  assert decoder_for("mlp", (5,), conv, shape) == nn.MlpDecoder(shape, (5,))
  assert decoder_for("conv", (), outputs("mlp:widths=9"), shape) == nn.ConvDecoder(shape, (32,))
  assert decoder_for("mlp", None, outputs("mlp:widths=9-7,code=3"), shape) == nn.MlpDecoder(shape, ())
  assert decoder_for("auto", None, conv, shape) == nn.DictionaryDecoder(shape)
  assert decoder_for("tied", (), outputs("mlp:widths=9-7,code=3"), shape) == nn.TiedDecoder(shape)
  with pytest.raises(UserError, match="--hp=decoder=tied: needs an encoder of dense layers"):
    decoder_for("tied", (), conv, shape)


# denoising


def test_denoising_with_equal_weights_is_the_plain_loss_on_the_corrupted_input(batch, autoencoder):
  params, state = autoencoder
  denoise, plain = make("denoise", decoder_widths=(6,)), make("autoencode")  # (6,): the mirrored decoder, as in plain
  view = denoise.transform(KEY, batch)
  np.testing.assert_allclose(view["target"], batch["image"] / 255.0, atol=1e-6)  # clean
  assert np.abs(view["image"] - view["target"]).max() > 0.5  # the input is not
  value, _ = denoise.loss(params, state, KEY, view)
  expected, _ = plain.loss(params, state, KEY, {"image": view["image"], "target": view["target"]})
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  wrong, _ = plain.loss(params, state, KEY, {"image": view["image"]})  # the corrupted image as its own target
  assert abs(wrong - value) > 1e-3


@pytest.mark.parametrize("noise", ["masking", "salt_pepper", "gaussian"])
def test_emphasis(batch, autoencoder, noise):
  """alpha * (sum over selected pixels) + beta * (sum over the others), by the number of all pixels."""
  params, state = autoencoder
  values = {}
  for weights in ((1.0, 0.0), (0.0, 1.0), (2.0, 0.25), (1.0, 1.0)):
    pretext = make("denoise", noise=noise, level=0.3, alpha=weights[0], beta=weights[1])
    view = pretext.transform(KEY, batch)
    values[weights] = float(
      make("denoise", decoder_widths=(6,)).loss(params, state, KEY, view)[0]
    )  # the weights travel in the view
  assert values[(1.0, 1.0)] == pytest.approx(values[(1.0, 0.0)] + values[(0.0, 1.0)], rel=1e-5)
  assert values[(2.0, 0.25)] == pytest.approx(2 * values[(1.0, 0.0)] + 0.25 * values[(0.0, 1.0)], rel=1e-5)
  if noise == "gaussian":  # every pixel is selected
    assert values[(0.0, 1.0)] == 0
  else:
    assert values[(1.0, 0.0)] / values[(1.0, 1.0)] == pytest.approx(0.3, abs=0.12)


def test_emphasis_marks_the_selected_pixels(batch):
  view = jax.tree.map(
    np.asarray, make("denoise", noise="masking", level=0.4, alpha=3.0, beta=0.5).transform(KEY, batch)
  )
  assert set(np.unique(view["weight"])) == {0.5, 3.0}
  changed = view["image"] != view["target"]
  assert changed.any()
  assert (view["weight"][changed] == 3.0).all()
  np.testing.assert_array_equal(view["image"][view["weight"] == 3.0], 0)
  np.testing.assert_array_equal(view["image"][view["weight"] == 0.5], view["target"][view["weight"] == 0.5])
  white = {"image": np.full((2, 16, 16, 1), 255, np.uint8)}
  view = jax.tree.map(np.asarray, make("denoise", noise="salt_pepper", alpha=3.0, beta=0.5).transform(KEY, white))
  kept = view["image"] == 1
  assert (view["weight"][kept] == 3.0).any()  # salt on white is selected all the same
  assert (view["weight"][kept] == 0.5).any()


def test_noise_is_in_training_only(batch, autoencoder):
  params, state = autoencoder
  np.testing.assert_array_equal(
    make("denoise", level=0.9).encode(params, state, batch["image"]),
    make("autoencode").encode(params, state, batch["image"]),
  )


@pytest.mark.parametrize(
  ("hp", "message"),
  [
    ({"level": 1.5}, r"level=1.5: must be in \[0, 1\]"),
    ({"level": -0.1}, "level=-0.1"),
    ({"level": float("nan")}, "level=nan"),
    ({"level": -1.0, "noise": "gaussian"}, "at least 0"),
  ],
)
def test_bad_level(hp, message):
  with pytest.raises(UserError, match=message):
    make("denoise", **hp)


def test_gaussian_level_may_exceed_one():
  assert make("denoise", noise="gaussian", level=1.5)


# rotation


def test_rotations_are_exact():
  x = np.random.default_rng(0).uniform(size=(3, 5, 5, 2)).astype(np.float32)
  turned, label = map(np.asarray, rotate(x))
  np.testing.assert_array_equal(label, np.repeat([0, 1, 2, 3], 3))
  parts = np.split(turned, 4)
  np.testing.assert_array_equal(parts[0], x)
  np.testing.assert_array_equal(parts[1], x.swapaxes(1, 2)[:, ::-1])  # counter-clockwise: transpose, flip the rows
  np.testing.assert_array_equal(parts[2], x[:, ::-1, ::-1])
  np.testing.assert_array_equal(parts[3], x.swapaxes(1, 2)[:, :, ::-1])
  again = np.asarray(rotate(rotate(rotate(parts[1])[0][3:6])[0][3:6])[0][3:6])
  np.testing.assert_array_equal(again, x)  # four quarter turns
  corner = np.zeros((1, 3, 3, 1), np.float32)
  corner[0, 0, 2] = 1  # top right; one turn counter-clockwise brings it to the top left
  assert np.asarray(rotate(corner)[0])[1, 0, 0, 0] == 1


def test_rotation_view_and_loss(batch):
  pretext = make("rotation")
  view = pretext.transform(KEY, batch)
  assert view["image"].shape == (24, 6, 6, 1)
  for i in range(6):  # all four of every image
    for r in range(4):
      assert int(view["label"][6 * r + i]) == r
      np.testing.assert_allclose(view["image"][6 * r + i], np.rot90(batch["image"][i], r) / 255.0, atol=1e-6)
  params, state = pretext.init(KEY, batch)
  params = {**params, "head": jax.tree.map(jnp.zeros_like, params["head"])}
  value, (_, metrics) = pretext.loss(params, state, KEY, view)
  assert value == pytest.approx(np.log(4))
  assert metrics["rotation_accuracy"] == 0.25
  bias = jnp.array([-50.0, 50.0, -50.0, -50.0])  # always says one turn
  params["head"]["Dense_0"]["bias"] = bias
  assert pretext.loss(params, state, KEY, view)[1][1]["rotation_accuracy"] == 0.25
  shown = pretext.show(params, state, KEY, batch)
  np.testing.assert_allclose(
    shown["90°, turned back as guessed"], view["image"][:6], atol=1e-6
  )  # a right guess: upright
  np.testing.assert_allclose(shown["180°, turned back as guessed"], view["image"][6:12], atol=1e-6)
  np.testing.assert_allclose(shown["turned by 270°"], view["image"][18:], atol=1e-6)


def test_rotation_needs_square_images():
  with pytest.raises(UserError, match="square images, not 6x5; use --image_size"):
    make("rotation").transform(KEY, make_batch(2, 6, 5))


# simclr


def test_simclr_is_nt_xent_of_the_projections(batch):
  encoder = nn.build(TINY)
  pretext = make("simclr", projector=(5, 3), temperature=0.3)
  params, state = pretext.init(KEY, batch)
  views = pretext.transform(KEY, batch)
  assert all(v.shape == batch["image"].shape for v in views.values())
  for i in range(6):
    assert np.abs(views["view1"][i] - views["view2"][i]).max() > 0.01

  @jax.jit
  def project(x):
    return nn.apply(
      nn.Projector((5, 3)), params["projector"], {}, nn.encode(encoder, "code", params["encoder"], {}, x)
    )[0]

  value, _ = pretext.loss(params, state, KEY, views)
  expected = losses.nt_xent(project(views["view1"]), project(views["view2"]), 0.3)
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  swapped, _ = pretext.loss(params, state, KEY, {"view1": views["view2"], "view2": views["view1"]})
  np.testing.assert_allclose(swapped, value, rtol=1e-5)
  z = pretext.encode({"encoder": params["encoder"]}, state, batch["image"])  # the projector is not needed
  assert z.shape == (6, 4)


def test_simclr_views_share_batch_statistics(batch):
  """Both views go through in one pass: the statistics are those of all 2B images."""
  pretext = make("simclr", "conv:widths=4,norm=batch")
  params, state = pretext.init(KEY, batch)
  one = make_batch()["image"] / np.float32(255)
  views = {"view1": one, "view2": np.zeros_like(one)}
  _, (mixed, _) = pretext.loss(params, state, KEY, views)
  both = nn.apply(
    nn.build("conv:widths=4,norm=batch"),
    params["encoder"],
    state["encoder"],
    np.concatenate(list(views.values())),
    train=True,
  )[1]
  for a, b in zip(jax.tree.leaves(mixed["encoder"]), jax.tree.leaves(both), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_black_images_do_not_end_simclr():
  """Fresh biases map a black image to the zero embedding: a norm without care has no gradient there."""
  pretext = make("simclr")
  batch = {"image": np.zeros((3, 6, 6, 1), np.uint8)}
  params, state = pretext.init(KEY, batch)
  view = {name: np.zeros((3, 6, 6, 1), np.float32) for name in ("view1", "view2")}
  (value, _), grads = jax.jit(jax.value_and_grad(pretext.loss, has_aux=True))(params, state, KEY, view)
  assert value == pytest.approx(np.log(5), rel=1e-5)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(
  "hp",
  [
    {"temperature": 0.0},
    {"temperature": -1.0},
    {"temperature": float("nan")},
    {"projector": ()},
    {"projector": (4, 0)},
  ],
)
def test_simclr_refuses(hp):
  with pytest.raises(UserError, match=f"--hp={next(iter(hp))}="):
    make("simclr", **hp)


# supervised


@pytest.mark.parametrize("classes", [3, 10])
def test_supervised_starts_with_every_class_equally_likely(batch, classes):
  pretext = make("supervised", classes=classes)
  params, state = pretext.init(KEY, batch)
  value, (_, metrics) = pretext.loss(params, state, KEY, pretext.transform(KEY, batch))
  assert value == pytest.approx(np.log(classes), rel=1e-6)
  assert metrics["accuracy"] == np.mean(batch["label"] == 0)


def test_supervised_trains_on_the_asked_features():
  encoder, batch = nn.build("conv:widths=4-4,norm=batch"), make_batch()
  pretext = METHODS["supervised"].factory(encoder, "block1:pool", ("block2",), num_classes=3)
  params, state = pretext.init(KEY, batch)
  assert params["head"]["Dense_0"]["kernel"].shape == (4, 3)
  params["head"]["Dense_0"]["kernel"] = params["head"]["Dense_0"]["kernel"] + np.eye(4, 3, dtype=np.float32)
  view = pretext.transform(KEY, batch)
  value, (after, _) = pretext.loss(params, state, KEY, view)
  logits = pretext.encode(params, state, batch["image"]) @ np.eye(4, 3, dtype=np.float32)  # block1 frozen: as in encode
  np.testing.assert_allclose(value, losses.cross_entropy(logits, batch["label"]), rtol=1e-5)
  moved = {
    b: not all(jax.tree.leaves(jax.tree.map(jnp.array_equal, state["encoder"][b], after["encoder"][b])))
    for b in after["encoder"]
  }
  assert moved == {"block1": False, "block2": True}


def test_supervised_needs_labels(batch):
  with pytest.raises(UserError, match="needs labels"):
    make("supervised").init(KEY, {"image": batch["image"]})
