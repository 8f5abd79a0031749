import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import nn
from sslx.nn import features
from sslx.nn.encoders import ConvBlock, ResidualBlocks
from sslx.pretext import build
from sslx.training import masks
from sslx.types import UserError

KEY = jax.random.key(0)


init = jax.jit(nn.init, static_argnums=0)
apply = jax.jit(nn.apply, static_argnums=0, static_argnames="train")


def images(n=4, height=8, width=8, channels=1, seed=0):
  return np.random.default_rng(seed).uniform(size=(n, height, width, channels)).astype(np.float32)


def block_shapes(spec, size=(28, 28, 1)):
  """{block: output shape without the batch} and the parameters' shapes."""
  encoder, x = nn.build(spec), np.zeros((2, *size), np.float32)
  params, stats = jax.eval_shape(lambda: nn.init(encoder, KEY, x))
  outputs = jax.eval_shape(lambda p, s: nn.apply(encoder, p, s, x)[0], params, stats)
  return {name: outputs[name].shape[1:] for name in encoder.block_names}, params


# encoders


def test_rotnet_has_the_published_counts():
  batch = {"image": np.zeros((1, 28, 28, 1), np.uint8), "label": np.zeros(1, np.int32)}
  encoder = nn.build("rotnet")
  rotation, _ = jax.eval_shape(build("rotation", encoder, "flatten", 10, {}).init, KEY, batch)
  assert masks.count(rotation["encoder"]) == 19_104
  assert masks.count(rotation) == 23_988
  supervised, _ = jax.eval_shape(build("supervised", encoder, "flatten", 10, {}).init, KEY, batch)
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


def test_residual_block_starts_as_the_identity():
  x, module = images(2, 4, 4, 3), ResidualBlocks(3, 1)
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
  def read(params, spec):
    return nn.encode(encoder, spec, params, stats, x)

  np.testing.assert_array_equal(read(params, "block1"), read(changed, "block1"))
  assert np.any(read(params, "block2") != read(changed, "block2"))
  grads = jax.jit(jax.grad(lambda p: jnp.square(read(p, "block1")).sum()))(params)
  assert all(np.any(g) for g in jax.tree.leaves(grads["block1"]))
  assert not any(np.any(g) for g in jax.tree.leaves(grads["block2"]))


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("cov", "no encoder is called 'cov'. Did you mean 'conv'"),
    ("", "no encoder is called ''.* Known: conv, mlp"),
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
  ],
)
def test_bad_encoder(spec, message):
  with pytest.raises(UserError, match=message) as caught:
    nn.build(spec)
  assert str(caught.value).startswith("--encoder=")


# features


def test_features_grammar():
  names = ["block1", "block2", "code"]
  for spec, expected in {
    "flatten": [("code", "flatten")],
    "pool": [("code", "pool")],
    "grid12": [("code", "grid12")],
    "block1": [("block1", "flatten")],
    "block1:pool+code": [("block1", "pool"), ("code", "flatten")],
    "block2:grid3+flatten": [("block2", "grid3"), ("code", "flatten")],
    "block2:max10": [("block2", "max10")],
    "block1@1+block2:grid3@2+pool@1": [("block1", "flatten@1"), ("block2", "grid3@2"), ("code", "pool@1")],
  }.items():
    assert features.parse(spec, names) == expected


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("blok1", "'blok1' is neither a block nor a reading. Did you mean 'block1'"),
    ("blok1:pool", "no block 'blok1'. Did you mean 'block1'"),
    ("block1:pol", "'pol' is neither.*Did you mean 'pool'"),
    ("grid", "'grid' is neither"),
    ("grid0", "'grid0' is neither"),
    ("grid-1", "'grid-1' is neither"),
    ("max0", "'max0' is neither"),
    ("max", "'max' is neither"),
    ("block1:", "'' is neither"),
    ("pool+", "'' is neither"),
    ("block1@3", "@3: a block's channels have two halves, @1 and @2"),
    ("pool@", "@: a block's channels have two halves"),
    ("block1@1:pool", "@1:pool: a block's channels have two halves"),
    ("blok1@1", "'blok1' is neither a block nor a reading. Did you mean 'block1'"),
    ("", "'' is neither"),
  ],
)
def test_bad_features(spec, message):
  with pytest.raises(UserError, match=message) as caught:
    features.parse(spec, ["block1", "block2"])
  assert str(caught.value).startswith(f"--features={spec}:")


def test_features_are_read_in_order():
  outputs = {"a": images(2, 4, 6, 3), "b": np.float32([[1, 2], [3, 4]])}
  np.testing.assert_array_equal(nn.read(outputs, "a"), outputs["a"].reshape(2, -1))
  np.testing.assert_allclose(nn.read(outputs, "a:pool"), outputs["a"].mean((1, 2)), rtol=1e-5)
  grid = outputs["a"].reshape(2, 2, 2, 2, 3, 3).mean((2, 4)).reshape(2, -1)  # 2x2 cells of 2x3 pixels
  np.testing.assert_allclose(nn.read(outputs, "a:grid2"), grid, rtol=1e-5)
  largest = outputs["a"].reshape(2, 2, 2, 2, 3, 3).max((2, 4)).reshape(2, -1)
  np.testing.assert_array_equal(nn.read(outputs, "a:max2"), largest)
  np.testing.assert_array_equal(nn.read(outputs, "pool"), outputs["b"])  # a flat block reads the same in every way
  np.testing.assert_allclose(
    nn.read(outputs, "b+a:pool"), np.concatenate([outputs["b"], outputs["a"].mean((1, 2))], 1), rtol=1e-5
  )


def test_halves_of_the_channels_are_read():
  outputs = {"a": images(2, 4, 6, 6), "b": np.float32([[1, 2], [3, 4]])}
  for i, half in enumerate((outputs["a"][..., :3], outputs["a"][..., 3:]), 1):
    for how in ("flatten", "pool", "grid2", "max2"):
      np.testing.assert_array_equal(nn.read(outputs, f"a:{how}@{i}"), nn.read({"a": half}, f"a:{how}"))
  np.testing.assert_array_equal(nn.read(outputs, "b@2"), [[2], [4]])
  np.testing.assert_array_equal(nn.read(outputs, "a@2"), nn.read(outputs, "a:flatten@2"))


# decoders


def decoded(module, z):
  def forward(z):
    params, _ = init(module, KEY, z)
    return apply(module, params, {}, z)[0]

  return jax.eval_shape(forward, z).shape


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
def test_conv_decoder_returns_any_size(upsample):
  flat = np.zeros((2, 5), np.float32)
  for height in range(1, 34):
    shape = (height, 34 - height if height % 3 else height, 1 + 2 * (height % 2))
    start = (-(-shape[0] // 4), -(-shape[1] // 4))
    decoder = nn.ConvDecoder(shape, (6, 4), upsample)
    assert decoded(decoder, flat) == (2, *shape)
    assert decoded(decoder, np.zeros((2, *start, 3), np.float32)) == (2, *shape)
  assert decoded(nn.ConvDecoder((28, 28, 1), (6, 4, 3), upsample), np.zeros((2, 3, 3, 32), np.float32)) == (
    2,
    28,
    28,
    1,
  )


def test_pixel_decoder_returns_any_size():
  for height in range(1, 12):
    shape = (height, 13 - height, 5)
    assert decoded(nn.PixelDecoder(shape), np.zeros((2, 5), np.float32)) == (2, *shape)
    assert decoded(nn.PixelDecoder(shape), np.zeros((2, 4, 3, 6), np.float32)) == (2, *shape)


def test_mlp_decoder():
  assert decoded(nn.MlpDecoder((5, 7, 3)), np.zeros((2, 4), np.float32)) == (2, 5, 7, 3)
  assert decoded(nn.MlpDecoder((5, 7, 1), (8, 9)), np.zeros((2, 2, 2, 4), np.float32)) == (2, 5, 7, 1)


@pytest.mark.parametrize(
  "decoder",
  [
    nn.ConvDecoder((14, 14, 1), (4, 4), "transpose"),
    nn.ConvDecoder((14, 14, 1), (4, 4), "resize"),
    nn.PixelDecoder((14, 14, 1), 8),
  ],
  ids=["transpose", "resize", "pixel"],
)
def test_conv_decoder_reaches_every_pixel_in_place(decoder):
  """Each output pixel depends on the code, and a code's cell only on what is near it (no shift by cropping)."""
  z = np.ones((1, 4, 4, 4), np.float32)
  params, _ = init(decoder, KEY, z)
  bump = z.copy()
  bump[0, 1, 2] += 1
  base, moved = (np.asarray(apply(decoder, params, {}, v)[0])[0, :, :, 0] for v in (z, bump))
  rows, columns = np.nonzero(base != moved)
  # the encoder's cell (1, 2) covers rows 4 .. 7 and columns 8 .. 11 (sizes are rounded up); 3x3 kernels reach further
  assert abs(rows.mean() - 5.5) < 2.1
  assert abs(columns.mean() - 9.5) < 2.1
  assert np.ptp(rows) < 11


# heads


def test_heads():
  x = images(3, 3, 3, 32)
  params, _ = init(nn.ConvHead(4), KEY, x)
  assert masks.count(params) == 23_988 - 19_104
  assert apply(nn.ConvHead(4), params, {}, x)[0].shape == (3, 4)
  flat, _ = init(nn.ConvHead(4), KEY, x.reshape(3, -1))
  assert masks.count(flat) == (288 + 1) * 4
  zero, _ = init(nn.Linear(4, zero=True), KEY, x)
  np.testing.assert_array_equal(apply(nn.Linear(4, zero=True), zero, {}, x)[0], 0)
  projector, _ = init(nn.Projector((5, 2)), KEY, x)
  assert masks.count(projector) == (288 + 1) * 5 + (5 + 1) * 2
  assert apply(nn.Projector((5, 2)), projector, {}, x)[0].min() < 0  # the last layer is linear


@pytest.mark.parametrize(("size", "code"), [((9, 7), (9, 7)), ((9, 7), (5, 4)), ((28, 28), (7, 7))])
def test_dictionary_decoder_places_its_kernels(size, code):
  """One active unit draws its kernel around its place; the image is the sum over units, times their values."""
  decoder = nn.DictionaryDecoder((*size, 2), kernel=3)
  z = np.zeros((1, *code, 3), np.float32)
  params, _ = init(decoder, KEY, z)
  params["ConvTranspose_0"]["bias"] = np.float32([0.5, -1])
  stride = [-(-s // c) for s, c in zip(size, code, strict=True)]
  z[0, 1, 2, 0], z[0, 3, 1, 2] = 2, -1
  kernel, drawn = np.asarray(params["ConvTranspose_0"]["kernel"]), np.zeros((60, 60, 2))
  for i, j, unit, value in ((1, 2, 0, 2), (3, 1, 2, -1)):
    top, left = i * stride[0] + 10, j * stride[1] + 10
    drawn[top : top + 3, left : left + 3] += value * kernel[::-1, ::-1, unit]
  got = np.asarray(apply(decoder, params, {}, z)[0])[0]
  assert got.shape == (*size, 2)

  def shifted(rows, columns):  # where "SAME" puts the kernel around its place depends on stride and kernel
    moved = np.roll(drawn, (-rows, -columns), (0, 1))
    return moved[10 : 10 + size[0], 10 : 10 + size[1]] + np.float32([0.5, -1])

  assert any(np.allclose(got, shifted(*shift), atol=1e-6) for shift in np.ndindex(3, 3))


def test_activations_and_no_downsampling():
  x = images()
  encoder = nn.build("mlp:widths=5,activation=sigmoid,code=0")
  params, _ = init(encoder, KEY, x)
  dense = params["dense1"]["Dense_0"]
  expected = 1 / (1 + np.exp(-(x.reshape(4, -1) @ dense["kernel"] + dense["bias"])))
  np.testing.assert_allclose(apply(encoder, params, {}, x)[0]["dense1"], expected, rtol=1e-5)
  assert block_shapes("conv:widths=4-5,down=none")[0] == {"block1": (28, 28, 4), "block2": (28, 28, 5)}


# encoders in bfloat16


@pytest.mark.parametrize(
  "spec",
  ["conv:widths=4-8", "conv:widths=4-8,norm=group,down=stride", "conv:widths=4-8,norm=batch", "mlp:widths=32,code=9",
   "vit:width=8,depth=2,heads=2", "rotnet", "split:widths=4-8"],
)  # fmt: skip
def test_bfloat16_is_float32_but_for_rounding(spec):
  """Loss to 1 %, gradient to 15 % of its length (rounding flips a relu here and there); all that comes out is float32."""
  x = images(16, 12, 12, 3 if spec.startswith("split") else 1)
  plain, half = nn.build(spec), nn.build(spec, "bfloat16")
  params, stats = init(plain, KEY, x)
  target = np.random.default_rng(1).normal(size=16).astype(np.float32)

  @functools.partial(jax.jit, static_argnums=0)
  def grads(encoder, params, stats):
    def loss(params):
      outputs, after = nn.apply(encoder, params, stats, x, train=True)
      assert tuple(outputs) == encoder.block_names  # in order
      feature = outputs[encoder.block_names[-1]].reshape(16, -1)
      return (jnp.square(feature.mean(1) - target) + jnp.square(feature).mean(1)).mean(), (outputs, after)

    return jax.value_and_grad(loss, has_aux=True)(params)

  (value, (outputs, after)), expected = grads(plain, params, stats)
  (half_value, (half_outputs, half_after)), got = grads(half, params, stats)
  assert {leaf.dtype for leaf in jax.tree.leaves((half_outputs, half_after, got))} == {np.dtype("float32")}
  assert any(np.any(half_outputs[name] != outputs[name]) for name in outputs)  # else it was float32
  np.testing.assert_allclose(half_value, value, rtol=0.01)
  for a, b in zip(jax.tree.leaves(half_after), jax.tree.leaves(after), strict=True):
    np.testing.assert_allclose(a, b, rtol=0.01, atol=1e-3)
  got, expected = (np.concatenate([np.ravel(g) for g in jax.tree.leaves(grads)]) for grads in (got, expected))
  assert 0 < np.linalg.norm(got - expected) < 0.15 * np.linalg.norm(expected)
  np.testing.assert_array_equal(
    nn.encode(half, "flatten", params, stats, x), nn.encode(plain, "flatten", params, stats, x)
  )


def test_bfloat16_resnet18():
  x = images(8, 8, 8, 3)
  plain, half = nn.build("resnet18"), nn.build("resnet18", "bfloat16")
  params, stats = init(plain, KEY, x)
  (one, after), (other, half_after) = (apply(e, params, stats, x, train=True) for e in (plain, half))
  assert 0 < np.linalg.norm(other["stage4"] - one["stage4"]) < 0.05 * np.linalg.norm(one["stage4"])
  for a, b in zip(jax.tree.leaves(half_after), jax.tree.leaves(after), strict=True):
    np.testing.assert_allclose(a, b, rtol=0.02, atol=2e-3)


def products(jaxpr) -> list[tuple[str, ...]]:
  """The operands' dtypes of every convolution and matrix product, in whatever it is nested."""
  found = []
  for eqn in jaxpr.eqns:
    if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
      found.append(tuple(str(v.aval.dtype) for v in eqn.invars))
    for value in jax.tree.leaves(
      list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")
    ):
      inner = getattr(value, "jaxpr", value)
      found += products(inner) if hasattr(inner, "eqns") else []
  return found


@pytest.mark.parametrize(
  ("spec", "least"),
  [("conv:widths=4-6,norm=batch", 2), ("conv:widths=4,norm=group,code=3", 2), ("vit:width=8,depth=1,heads=2", 7)],
)
def test_products_of_a_bfloat16_encoder_are_in_bfloat16(spec, least):
  encoder, x = nn.build(spec, "bfloat16"), images(2, 8, 8)
  params, stats = init(encoder, KEY, x)
  found = products(jax.make_jaxpr(lambda p: nn.apply(encoder, p, stats, x, train=True)[0])(params).jaxpr)
  assert len(found) >= least
  assert set(found) == {("bfloat16", "bfloat16")}


def test_bias_gradients_of_a_bfloat16_encoder_are_sums_of_many():
  """3,200 ones: in bfloat16 sums stop growing where one more is less than the rounding, at 256."""
  encoder, x = nn.build("conv:widths=2,down=none", "bfloat16"), np.ones((50, 8, 8, 1), np.float32)
  params, _ = init(encoder, KEY, x)
  params = jax.tree.map(lambda p: jnp.abs(p) + 1, params)
  grads = jax.jit(jax.grad(lambda p: nn.apply(encoder, p, {}, x)[0]["block1"].sum()))(params)
  np.testing.assert_allclose(grads["block1"]["Conv_0"]["bias"], 3200)
  np.testing.assert_allclose(grads["block1"]["Conv_0"]["kernel"][1, 1, 0], 3200, rtol=0.01)
