"""Stacked denoising: the schedule of phases, what each phase trains and sees, and the joint loss by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import PREPARE, apply, init, jitted, pixels, prepared

from sslx import nn
from sslx.ops.corrupt import masking
from sslx.pretext.stacked_denoise import layer_decoder, stacked_denoise
from sslx.training import checkpoint, loop, optim, step
from sslx.training.hooks import log_to
from sslx.types import UserError

CONV, MLP = "conv:widths=4-6,norm=batch,code=5", "mlp:widths=12-9,code=4"
STEPS = 7  # of a layer
KEY = jax.random.key(3)


def make(spec, size=(9, 7, 2), n=6, **hp):
  """(encoder, pretext, parameters away from their start, state, view)."""
  encoder = nn.build(spec)
  pretext = jitted(stacked_denoise(encoder, layer_steps=STEPS, **hp))
  rng = np.random.default_rng(0)
  batch = {"x": prepared(pixels(n, *size))}
  params, state = pretext.init(KEY, batch)
  params = jax.tree.map(lambda p: p + 0.1 * rng.standard_normal(p.shape).astype(np.float32), params)
  state["encoder"] = jax.tree.map(lambda s: s + rng.random(s.shape).astype(np.float32), state["encoder"])
  return encoder, pretext, params, state, pretext.transform(KEY, batch)


def at(state, step):
  return {**state, "step": jnp.asarray(step, jnp.int32)}


def leaves(tree):
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def same(a, b):
  return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_phases_change_at_multiples_of_layer_steps():
  _, pretext, params, state, view = make(MLP, size=(4, 4, 1))  # three blocks
  loss = jax.jit(pretext.loss)
  steps = [0, 1, STEPS - 1, STEPS, 2 * STEPS - 1, 2 * STEPS, 3 * STEPS - 1, 3 * STEPS, 4 * STEPS, 10**6, 2**31 - 1]
  phases = [float(loss(params, at(state, step), KEY, view)[1][1]["phase"]) for step in steps]
  assert phases == [1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4]
  assert int(state["step"]) == 0
  done = pretext.update(params, state, jnp.asarray(STEPS - 1, jnp.int32))  # after step STEPS - 1 comes step STEPS
  assert done["step"].dtype == np.int32
  assert float(loss(params, done, KEY, view)[1][1]["phase"]) == 2


@pytest.mark.parametrize("spec", [CONV, MLP])
def test_a_phase_trains_its_block_and_nothing_else(spec):
  encoder, pretext, params, state, view = make(spec)
  grad = jax.jit(jax.value_and_grad(pretext.loss, has_aux=True))
  for phase, block in enumerate(encoder.block_names):
    (value, (after, metrics)), grads = grad(params, at(state, phase * STEPS), KEY, view)
    assert float(metrics["reconstruction"]) == float(value)
    for role in ("encoder", "decoder"):
      for name in encoder.block_names:
        touched = [bool(np.any(g)) for g in jax.tree.leaves(grads[role][name])]
        assert all(touched) if name == block else not any(touched), (block, role, name)
    for name, stats in after["encoder"].items():
      for leaf, was in zip(jax.tree.leaves(stats), jax.tree.leaves(state["encoder"][name]), strict=True):
        assert np.any(leaf != was) == (name == block), (block, name)
  (_, (after, _)), grads = grad(params, at(state, 10**6), KEY, view)
  assert all(np.any(g) for g in leaves(grads).values())
  assert all(np.any(leaf != leaves(state["encoder"])[name]) for name, leaf in leaves(after["encoder"]).items())


def test_only_the_present_phase_is_computed():
  """What the others would read is not a number."""
  encoder, pretext, params, state, view = make(CONV)
  grad = jax.jit(jax.value_and_grad(pretext.loss, has_aux=True))
  for phase, _ in enumerate(encoder.block_names):
    later = encoder.block_names[phase + 1 :]
    broken = {
      role: {n: jax.tree.map(lambda p: p * np.nan, tree) if n in later else tree for n, tree in blocks.items()}
      for role, blocks in params.items()
    }
    (value, _), grads = grad(broken, at(state, phase * STEPS), KEY, view)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in leaves(grads).values())


def test_a_blocks_input_is_clean_and_in_evaluation_mode():
  """Phase 2 of a batch-normalised conv encoder, written with lax and the running statistics."""
  _, pretext, params, state, view = make(CONV, level=0.3)
  loss = jax.jit(pretext.loss)
  value, _ = loss(params, at(state, STEPS), KEY, view)

  def conv(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

  def pool(x):  # 9x7 -> 5x4, rounded up
    return jax.lax.reduce_window(
      x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0))
    )

  def block(x, p, mean, var):
    x = (conv(x, p["Conv_0"]["kernel"]) - mean) / jnp.sqrt(var + 1e-5)
    return pool(jax.nn.relu(x * p["BatchNorm_0"]["scale"] + p["BatchNorm_0"]["bias"]))

  first, second = params["encoder"]["block1"], params["encoder"]["block2"]
  running = state["encoder"]["block1"]["BatchNorm_0"]
  h = block(view["target"], first, running["mean"], running["var"])
  assert h.shape[1:] == (5, 4, 4)
  corrupted, selected = masking(KEY, h, 0.3)
  assert selected.any()
  raw = conv(corrupted, second["Conv_0"]["kernel"])
  z = block(corrupted, second, raw.mean((0, 1, 2)), raw.var((0, 1, 2)))  # the batch's own: it is in training
  back = params["decoder"]["block2"]["ConvTranspose_0"]
  assert back["kernel"].shape == (5, 5, 6, 4)  # from 3x2 to 5x4: stride 2
  restored = jax.lax.conv_transpose(z, back["kernel"], (2, 2), "SAME")[:, :5, :4] + back["bias"]
  np.testing.assert_allclose(value, jnp.square(restored - h).mean(), rtol=1e-4)

  other = {**view, "x": 1 - view["x"]}
  assert float(loss(params, at(state, STEPS), KEY, other)[0]) == float(value)
  assert float(loss(params, state, KEY, other)[0]) != float(loss(params, state, KEY, view)[0])
  assert float(loss(params, at(state, STEPS), jax.random.key(4), view)[0]) != float(value)  # fresh noise


@pytest.mark.parametrize(("output", "loss"), [("sigmoid", "bce"), ("linear", "mse")])
def test_the_phases_of_an_mlp_written_out(output, loss):
  _, pretext, params, state, view = make(MLP, output=output, loss=loss, level=0.25)
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  shape = view["target"].shape

  def up(name, x):
    y = x.reshape(len(x), -1) @ p["encoder"][name]["Dense_0"]["kernel"] + p["encoder"][name]["Dense_0"]["bias"]
    return y if name == "code" else np.maximum(y, 0)

  def down(name, x):
    return x @ p["decoder"][name]["Dense_0"]["kernel"] + p["decoder"][name]["Dense_0"]["bias"]

  def pixels(raw, target):
    target = np.asarray(target, np.float64).reshape(raw.shape)
    if loss == "mse":
      return np.square(raw - target).mean()
    return (np.maximum(raw, 0) - raw * target + np.log1p(np.exp(-np.abs(raw)))).mean()

  noisy, clean = np.asarray(view["x"]), np.asarray(view["target"])
  h1 = up("dense1", clean)
  h2 = up("dense2", h1)
  masked1, masked2 = (np.where(masking(KEY, jnp.asarray(h, jnp.float32), 0.25)[1], 0, h) for h in (h1, h2))
  h3 = up("code", up("dense2", up("dense1", noisy)))
  all_down = down("dense1", np.maximum(down("dense2", np.maximum(down("code", h3), 0)), 0))
  expected = [
    pixels(down("dense1", up("dense1", noisy)), clean),
    np.square(down("dense2", up("dense2", masked1)) - h1).mean(),
    np.square(down("code", up("code", masked2)) - h2).mean(),
    pixels(all_down, clean),
  ]
  got = [pretext.loss(params, at(state, phase * STEPS), KEY, view)[0] for phase in range(4)]
  np.testing.assert_allclose(got, expected, rtol=1e-4)

  assert pretext.decode
  image = all_down if output == "linear" else 1 / (1 + np.exp(-all_down))
  decoded = pretext.decode(params, state, jnp.asarray(h3, jnp.float32), shape[1:])
  np.testing.assert_allclose(decoded, image.clip(0, 1).reshape(shape), rtol=1e-4, atol=1e-5)


def test_transform_masks_and_keeps_the_target_clean():
  pretext = stacked_denoise(nn.build(MLP), level=0.3)
  image = prepared(np.full((50, 20, 20, 1), 200))
  view = pretext.transform(KEY, {"x": image})
  np.testing.assert_array_equal(view["target"], np.float32(200) / np.float32(255))
  assert set(np.unique(view["x"])) == {0, np.float32(200) / np.float32(255)}
  assert (view["x"] == 0).mean() == pytest.approx(0.3, abs=0.01)


def test_the_encoder_starts_as_any_other():
  encoder = nn.build(CONV)
  batch = {"x": np.zeros((1, 9, 7, 2), np.float32)}
  params, state = jax.jit(stacked_denoise(encoder).init)(KEY, batch)
  expected = init(encoder, jax.random.split(KEY)[0], np.zeros((1, 9, 7, 2), np.float32))
  assert same((params["encoder"], state["encoder"]), expected)


@pytest.mark.parametrize(
  ("code", "target"),
  [
    ((7, 7, 3), (28, 28, 1)), ((3, 3, 3), (7, 7, 2)), ((3, 8, 2), (5, 16, 1)), ((9, 7, 2), (9, 7, 3)),
    ((5,), (4, 3, 2)), ((5,), (9,)),
  ],
  ids=str,
)  # fmt: skip
def test_a_layer_decoder_reaches_every_position(code, target):
  module = layer_decoder(code, target)
  z = np.ones((2, *code), np.float32)
  params, _ = init(module, KEY, z)
  back = apply(module, jax.tree.map(jnp.ones_like, params), {}, z)[0] - 1  # less the bias
  assert back.reshape(2, -1).shape == (2, np.prod(target))
  assert (back > 0).all()


def test_a_resumed_run_is_the_same_run(tmp_path, toy):
  """Killed at step 3, inside phase 2: the checkpoint carries the phase."""
  pretext = stacked_denoise(nn.build("conv:widths=3-4,norm=batch"), layer_steps=2)
  tx, data = optim.optimizer(optim.cosine(1e-2, 6)), {"x": toy.train.x}
  fresh, train_step, rows = step.make_init(pretext, tx, PREPARE), step.make_train_step(pretext, tx, PREPARE), []

  def start():
    return fresh(jax.random.key(0), {"x": toy.train.x[:1]})

  def fit(ts, steps):
    how = loop.Loop(steps=steps, batch_size=20, seed=1, log_every=1)
    return loop.fit(ts, train_step, data, how, [log_to(rows.append)])

  whole = fit(start(), 6)
  assert [row["phase"] for row in rows] == [1, 1, 2, 2, 3, 3]
  checkpoint.save(tmp_path, fit(start(), 3), {})
  restored = checkpoint.restore(tmp_path, start())
  assert restored is not None
  assert int(restored.state["step"]) == 3
  resumed = fit(restored, 6)
  assert [row["phase"] for row in rows[9:]] == [2, 3, 3]
  for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
    assert jax.numpy.array_equal(a, b)


@pytest.mark.parametrize(
  ("hp", "message"),
  [
    ({"layer_steps": 0}, "--hp=layer_steps=0: must be at least 1"),
    ({"level": 1.5}, r"--hp=level=1.5: must be in \[0, 1\]"),
    ({"level": float("nan")}, "--hp=level=nan"),
    ({"output": "relu"}, "--hp=output=relu"),
  ],
)
def test_bad_hyper_parameters(hp, message):
  with pytest.raises(UserError, match=message):
    stacked_denoise(nn.build(MLP), **hp)
