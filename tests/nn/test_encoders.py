"""Encoders: shapes, counts of parameters, batch statistics, and the texts that name them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, apply, build, init

from sslx import nn
from sslx.nn.blocks import ConvBlock
from sslx.nn.resnets import Bottlenecks, ResidualBlocks
from sslx.training import masks
from sslx.types import UserError


def images(n=4, height=8, width=8, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(size=(n, height, width, channels)).astype(np.float32)


def block_shapes(spec, size=(28, 28, 1)):
  """{block: output shape without the batch} and the parameters' shapes."""
  encoder, x = nn.build(spec), np.zeros((2, *size), np.float32)
  params, stats = jax.eval_shape(lambda: nn.init(encoder, KEY, x))
  outputs = jax.eval_shape(lambda p, s: nn.apply(encoder, p, s, x)[0], params, stats)
  return {name: outputs[name].shape[1:] for name in encoder.block_names}, params


@pytest.mark.parametrize("kind", nn.ENCODERS)
def test_every_encoder_keeps_its_contract(kind):
  """Blocks by name and in order, [B,...] each; other sizes where it takes any; whether examples see each other."""
  encoder = nn.build(kind)
  assert encoder.axes in (None, 1, 2, 3, 4)
  shape = (32, 32, 3) if encoder.axes != 1 else (400,)
  x = jax.ShapeDtypeStruct((2, *shape), jnp.int32 if encoder.ids else jnp.float32)
  params, stats = jax.eval_shape(lambda: nn.init(encoder, KEY, jnp.zeros(x.shape, x.dtype)))
  names = []

  def blocks(params, stats, x):
    outputs, _ = nn.apply(encoder, params, stats, x)
    names.extend(outputs)  # the shapes come back sorted by name
    return outputs

  outputs = jax.eval_shape(blocks, params, stats, x)
  assert tuple(names) == encoder.block_names
  assert all(block.shape[0] == 2 and block.dtype == jnp.float32 for block in outputs.values())
  assert encoder.batch_norm == bool(stats)
  assert set(params) <= set(encoder.block_names)
  assert nn.build(kind) is encoder  # so that all who compile it share what was compiled
  if encoder.any_size:
    other = (40, 40, 3) if encoder.axes != 1 else (333,)
    again, _ = jax.eval_shape(lambda: nn.init(encoder, KEY, jnp.zeros((2, *other), x.dtype)))
    assert jax.tree.map(lambda a: a.shape, again) == jax.tree.map(lambda a: a.shape, params)
  modality = "text" if encoder.ids else "image" if encoder.axes != 1 else "sound"
  nn.check_input(kind, encoder, shape, modality)
  if encoder.axes is not None:
    with pytest.raises(UserError, match=f"--encoder={kind}: reads examples of {encoder.axes} axes, .*mlp"):
      nn.check_input(kind, encoder, (200,) if encoder.axes != 1 else (20, 20, 1), modality)
  if encoder.axes == 1:
    other = "sound" if encoder.ids else "text"
    with pytest.raises(UserError, match=f"--encoder={kind}: reads .*, and the data is {other}"):
      nn.check_input(kind, encoder, shape, other)


def test_rotnet_has_the_published_counts():
  batch = {"x": np.zeros((1, 28, 28, 1), np.float32), "y": np.zeros(1, np.int32)}
  rotation, _ = jax.eval_shape(build("rotation", "rotnet").init, KEY, batch)
  assert masks.count(rotation["encoder"]) == 19_104
  assert masks.count(rotation) == 23_988
  supervised, _ = jax.eval_shape(build("supervised", "rotnet", classes=10).init, KEY, batch)
  assert masks.count(supervised) == 21_994
  assert masks.count(supervised, masks.trainable(supervised, ())) == 2_890
  assert masks.count(supervised, masks.trainable(supervised, ["block2"])) == 2_890 + (9 * 64 + 1) * 32
  assert block_shapes("rotnet")[0] == {"block1": (7, 7, 64), "block2": (3, 3, 32)}  # rounded down: 7 -> 3


def test_conv_rounds_up():
  expected = {"block1": (14, 14, 4), "block2": (7, 7, 8), "block3": (4, 4, 8)}
  for down in ("pool", "stride"):
    assert block_shapes(f"conv:widths=4-8-8,down={down}")[0] == expected
    shapes, _ = block_shapes(f"conv:widths=4-8,code=5,down={down}", (27, 1, 3))
    assert shapes == {"block1": (14, 1, 4), "block2": (7, 1, 8), "code": (5,)}


def test_conv_counts_and_kernels():
  _, params = block_shapes("conv:widths=4-8,norm=none,kernel=5-3")
  assert params["block1"]["Conv_0"]["kernel"].shape == (5, 5, 1, 4)
  assert params["block2"]["Conv_0"]["kernel"].shape == (3, 3, 4, 8)
  assert masks.count(params) == (25 * 1 + 1) * 4 + (9 * 4 + 1) * 8
  for norm in ("group", "batch"):  # the normalisation's bias replaces the convolution's
    _, params = block_shapes(f"conv:widths=4-8,norm={norm}")
    assert masks.count(params) == 9 * 4 + 2 * 4 + 9 * 4 * 8 + 2 * 8


@pytest.mark.parametrize("width", [1, 6, 12, 20, 13])
def test_group_norm_takes_any_width(width):
  assert block_shapes(f"conv:widths={width}", (4, 4, 1))[0] == {"block1": (2, 2, width)}


def test_mlp():
  shapes, params = block_shapes("mlp:widths=7-6,code=3", (4, 5, 2))
  assert shapes == {"dense1": (7,), "dense2": (6,), "code": (3,)}
  assert masks.count(params) == (40 + 1) * 7 + (7 + 1) * 6 + (6 + 1) * 3
  assert list(block_shapes("mlp:widths=7,code=0")[0]) == ["dense1"]
  encoder = nn.build("mlp:widths=7,code=3")
  params, stats = init(encoder, KEY, images())
  outputs, _ = apply(encoder, params, stats, images())
  assert outputs["dense1"].min() == 0
  assert outputs["code"].min() < 0  # a linear code
  dense = jax.tree.map(np.asarray, params)
  hidden = np.maximum(images().reshape(4, -1) @ dense["dense1"]["Dense_0"]["kernel"], 0)
  np.testing.assert_allclose(outputs["code"], hidden @ dense["code"]["Dense_0"]["kernel"], rtol=1e-4, atol=1e-5)


def test_a_small_resnet():
  shapes, params = block_shapes("resnet", (32, 32, 3))
  assert shapes == {
    "stem": (16, 16, 32), "stage1": (16, 16, 32), "stage2": (8, 8, 64), "stage3": (4, 4, 128)
  }  # fmt: skip
  stem, first = 27 * 32 + 2 * 32, 2 * (9 * 32 * 32 + 2 * 32)
  second = 9 * 32 * 64 + 9 * 64 * 64 + 32 * 64 + 3 * 2 * 64  # with a 1x1 shortcut
  third = 9 * 64 * 128 + 9 * 128 * 128 + 64 * 128 + 3 * 2 * 128
  assert masks.count(params) == stem + first + second + third
  shapes, params = block_shapes("resnet:widths=8-12,depth=3,stem_stride=1", (9, 7, 1))
  assert list(shapes.values()) == [(9, 7, 8), (9, 7, 8), (5, 4, 12)]
  assert sum(name.startswith("Conv") for name in params["stage1"]) == 6
  assert nn.build("resnet").batch_norm


def test_resnet18_is_the_known_one():
  shapes, params = block_shapes("resnet18", (32, 32, 3))
  assert list(shapes.items()) == [
    ("stem", (32, 32, 64)),
    ("stage1", (32, 32, 64)),
    ("stage2", (16, 16, 128)),
    ("stage3", (8, 8, 256)),
    ("stage4", (4, 4, 512)),
  ]
  assert masks.count(params) + (512 + 1) * 10 == 11_173_962  # with a dense layer to 10 classes: the CIFAR ResNet-18


def test_resnet50_is_the_known_one():
  shapes, params = block_shapes("resnet50", (224, 224, 3))
  assert list(shapes.items()) == [
    ("stem", (56, 56, 64)),
    ("stage1", (56, 56, 256)),
    ("stage2", (28, 28, 512)),
    ("stage3", (14, 14, 1024)),
    ("stage4", (7, 7, 2048)),
    ("pool", (2048,)),
  ]
  assert masks.count(params) + (2048 + 1) * 1000 == 25_557_032  # with a dense layer to 1,000 classes
  shapes, _ = block_shapes("resnet50:stem=small,width=4,pool=false", (32, 32, 3))
  assert list(shapes.values()) == [(32, 32, 4), (32, 32, 16), (16, 16, 32), (8, 8, 64), (4, 4, 128)]


@pytest.mark.parametrize("module", [ResidualBlocks(4, 1), Bottlenecks(1, 1, 2)])
def test_residual_block_starts_as_the_identity(module):
  x = images(2, 4, 4, 4)
  params, stats = init(module, KEY, x)
  np.testing.assert_allclose(apply(module, params, stats, x)[0], x, atol=1e-6)


def test_batch_statistics_move_only_in_the_blocks_that_train():
  encoder, x = nn.build("conv:widths=4-4,norm=batch"), images()
  params, stats = init(encoder, KEY, x)
  evaluated, _ = apply(encoder, params, stats, x)
  assert nn.apply(encoder, params, stats, x, train=())[1] is stats  # evaluation leaves them as they are
  for train, moving in ((True, {"block1", "block2"}), (("block2",), {"block2"}), (("block1",), {"block1"})):
    outputs, after = apply(encoder, params, stats, x, train=train)
    assert jax.tree.structure(after) == jax.tree.structure(stats)
    changed = {b for b in stats if not all(jax.tree.leaves(jax.tree.map(jnp.array_equal, stats[b], after[b])))}
    assert changed == moving
    if "block1" not in moving:  # frozen: computed as in evaluation
      np.testing.assert_array_equal(outputs["block1"], evaluated["block1"])
      alone = apply(encoder, params, stats, x[:1], train=train)[0]["block1"]
      np.testing.assert_allclose(alone, outputs["block1"][:1], atol=1e-6)
    else:
      assert np.abs(outputs["block1"] - evaluated["block1"]).max() > 1e-3


def test_batch_statistics_are_a_moving_average():
  x, module = images(), ConvBlock(4, norm="batch")
  params, stats = init(module, KEY, x)
  kernel = params["Conv_0"]["kernel"]
  y = np.asarray(jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
  after = apply(module, params, stats, x, train=True)[1]["BatchNorm_0"]
  np.testing.assert_allclose(after["mean"], 0.1 * y.mean((0, 1, 2)), rtol=1e-3, atol=1e-6)
  np.testing.assert_allclose(after["var"], 0.9 + 0.1 * y.var((0, 1, 2)), rtol=1e-4)


def test_unused_blocks_do_not_matter():
  encoder, x = nn.build("conv:widths=4-4"), images()
  params, stats = init(encoder, KEY, x)
  changed = {**params, "block2": jax.tree.map(lambda p: p + 1, params["block2"])}

  @functools.partial(jax.jit, static_argnums=1)
  def read(params, reading):
    return nn.read(nn.apply(encoder, params, stats, x)[0], reading)

  np.testing.assert_array_equal(read(params, "block1"), read(changed, "block1"))
  assert np.any(read(params, "block2") != read(changed, "block2"))
  grads = jax.jit(jax.grad(lambda p: jnp.square(read(p, "block1")).sum()))(params)
  assert all(np.any(g) for g in jax.tree.leaves(grads["block1"]))
  assert not any(np.any(g) for g in jax.tree.leaves(grads["block2"]))


def test_activations_and_no_downsampling():
  x = images()
  encoder = nn.build("mlp:widths=5,activation=sigmoid,code=0")
  params, _ = init(encoder, KEY, x)
  dense = params["dense1"]["Dense_0"]
  expected = 1 / (1 + np.exp(-(x.reshape(4, -1) @ dense["kernel"] + dense["bias"])))
  np.testing.assert_allclose(apply(encoder, params, {}, x)[0]["dense1"], expected, rtol=1e-5)
  assert block_shapes("conv:widths=4-5,down=none")[0] == {"block1": (28, 28, 4), "block2": (28, 28, 5)}


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("cov", "no encoder is called 'cov'. Did you mean 'conv'"),
    ("", "no encoder is called ''.* Known: .*conv.*mlp"),
    ("conv:width=3", "no option 'width'. Did you mean 'widths'"),
    ("conv:widths=3-x", "expected integers"),
    ("conv:widths=", "widths must be positive"),
    ("conv:widths=4-0", "widths must be positive"),
    ("conv:kernel=0", "kernel must be positive"),
    ("conv:code=-1", "code must be positive"),
    ("conv:down=avg", "unknown value.* Known: none, pool, stride"),
    ("conv:widths=4,widths=5", "given twice"),
    ("rotnet:widths=4", "no option 'widths'"),
    ("mlp:code=1.5", "expected integer"),
    ("conv:widths=100000000", "must be a number between -1000000 and 1000000"),
    ("conv:kernel=" + "9" * 5000, "expected integers"),
    ("rotnet:scale=nan", "must be a number between"),
    ("rotnet:scale=inf", "must be a number between"),
    ("vit:depth=1000000", "depth: more than 500 blocks"),
    ("resnet:depth=501", "depth: more than 500 blocks"),
    ("mlp:widths=" + "-".join("4" * 501), "widths: more than 500 blocks"),
  ],
)
def test_bad_encoder(spec, message):
  with pytest.raises(UserError, match=message) as caught:
    nn.build(spec)
  assert str(caught.value).startswith("--encoder=")


def test_the_same_text_is_the_same_encoder():
  assert nn.build("conv:widths=4-8") is nn.build("conv:widths=4-8")
  assert nn.build("conv:widths=4-8") is not nn.build("conv:widths=4-8", "bfloat16")


@pytest.mark.parametrize(
  ("spec", "shape", "message"),
  [
    ("conv:widths=4-8,norm=none,kernel=5-3", (28, 28, 1), None),
    ("conv:widths=1000000-1000000", (28, 28, 1), "has 9e+12 parameters"),
    ("conv:widths=1000000-1000000,kernel=1000000", (28, 28, 1), "has 1e+24 parameters"),
    ("mlp:code=1000000", (28, 28, 1), "has 502,285,500 parameters"),
    ("vit:patch=1000000", (28, 28, 1), "has 6.4e+13 parameters"),
    ("conv:widths=300000,kernel=1,down=none", (28, 28, 1), "makes 235,200,000 numbers of one example of (28, 28, 1)"),
    ("mlp", (4096, 4096, 3), "has 5e+10 parameters"),
    ("resnet18", (224, 224, 3), None),
  ],
)  # fmt: skip
def test_what_is_too_large_is_told_by_its_shapes_alone(spec, shape, message):
  encoder = nn.build(spec)
  if message is None:
    nn.check_size(spec, encoder, shape)
    return
  with pytest.raises(UserError) as caught:
    nn.check_size(spec, encoder, shape)
  line = str(caught.value)
  assert line.startswith(f"--encoder={spec}: {message}; ")
  assert "--max_parameters" in line


def test_the_limit_of_a_size_is_inclusive():
  encoder = nn.build("mlp:widths=7-6,code=3")
  parameters = (40 + 1) * 7 + (7 + 1) * 6 + (6 + 1) * 3
  nn.check_size("mlp", encoder, (4, 5, 2), parameters)
  with pytest.raises(UserError, match=f"has {parameters} parameters; .*now {parameters - 1}"):
    nn.check_size("mlp", encoder, (4, 5, 2), parameters - 1)


@pytest.mark.parametrize("shape", [(2, 3, 5, 2), (2, 4, 1), (1, 2, 3, 4, 1), (1, 1, 3, 1)], ids=str)
def test_places_stand_behind_the_values(shape):
  """Of an image rows, columns and their squares; of sound one axis, of a clip three."""
  x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  axes = len(shape) - 2
  ((name, made),) = nn.apply(nn.PLACES, {}, {}, x)[0].items()
  assert name == "x"
  assert made.shape == (*shape[:-1], shape[-1] + 2 * axes)
  np.testing.assert_array_equal(made[..., : shape[-1]], x)
  for axis in range(axes):
    n = shape[1 + axis]
    expected = np.linspace(-1, 1, n).reshape(n, *[1] * (axes - 1 - axis))
    np.testing.assert_allclose(made[..., shape[-1] + axis], np.broadcast_to(expected, shape[:-1]), atol=1e-6)
    squares = np.broadcast_to(expected**2, shape[:-1])
    np.testing.assert_allclose(made[..., shape[-1] + axes + axis], squares, atol=1e-6)
