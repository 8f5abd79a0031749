"""What large encoders need: ImageNet's size of images, and settings that save memory, on one device and on four."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx import nn
from sslx.modalities import MODALITIES
from sslx.pretext import build
from sslx.tasks import TASKS
from sslx.training import parallel, run
from sslx.training.config import Config
from sslx.training.step import make_init, make_train_step

PREPARE = MODALITIES["image"].prepare
TASK = TASKS["classification"](("a", "b"))


def pixels(n, side, seed=0):
  return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def after_steps(method, encoder, x, devices, *, streamed=False, accumulate=1, steps=2, **hp):
  """(loss of each step, parameters and state) after steps on `devices` devices."""
  mesh, tx = parallel.mesh_over(jax.devices()[:devices]), optax.sgd(0.05)
  pretext = build(method, encoder, hp, TASK)
  ts = parallel.replicate(make_init(pretext, tx, PREPARE)(jax.random.key(0), {"x": x[:1]}), mesh)
  step, seen = make_train_step(pretext, tx, PREPARE, accumulate, mesh=mesh), []
  rows = np.random.default_rng(1).permutation(len(x)).astype(np.int32)[None]
  for _ in range(steps):
    if streamed:
      ts, metrics = step(ts, {"x": parallel.share(x[rows[0]], mesh)}, None)
    else:
      ts, metrics = step(ts, parallel.replicate({"x": jnp.asarray(x)}, mesh), parallel.share(rows, mesh, axis=1))
    seen.append(float(metrics["loss"][0]))
  return seen, jax.device_get((ts.params, ts.state))


@pytest.mark.parametrize("spec", ["resnet50:width=4", "vit:width=8,depth=2,heads=2,patch=16"])
def test_encoders_of_large_images_take_a_step(spec):
  """Of 224 x 224 pixels, in tiny width."""
  encoder = nn.build(spec, "bfloat16" if "vit" in spec else "float32", remat=True)
  (loss,), params = after_steps("rotation", encoder, pixels(2, 224), 1, steps=1, head="linear")
  assert 0.5 < loss < 5  # log 4 for a guess
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("streamed", [False, True], ids=["from memory", "streamed"])
def test_parts_on_four_devices_are_those_of_one(streamed):
  """So the parts hold the same images, in the same order: they are in the queue."""
  encoder, x = nn.build("conv:widths=4-8,norm=batch"), pixels(16, 9)
  how = {"streamed": streamed, "accumulate": 2, "projector": (8,), "queue": 24}
  one, four = (after_steps("moco", encoder, x, n, **how) for n in (1, 4))
  np.testing.assert_allclose(four[0], one[0], rtol=1e-5)
  for a, b in zip(jax.tree.leaves(four[1]), jax.tree.leaves(one[1]), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_bfloat16_on_four_devices_is_that_of_one_but_for_rounding():
  encoder, x = nn.build("conv:widths=4-8,norm=batch", "bfloat16", remat=True), pixels(16, 9)
  one, four = (after_steps("simclr", encoder, x, n, projector=(8,)) for n in (1, 4))
  plain = after_steps("simclr", nn.build("conv:widths=4-8,norm=batch"), x, 1, projector=(8,))
  np.testing.assert_allclose(four[0], one[0], rtol=5e-3)
  assert one[0] != plain[0]  # or nothing was rounded
  for a, b in zip(jax.tree.leaves(four[1]), jax.tree.leaves(one[1]), strict=True):
    np.testing.assert_allclose(a, b, rtol=0.05, atol=5e-3)


def test_a_run_builds_what_its_configuration_says(toy):
  config = Config(method="denoise", encoder="conv:widths=4", batch_size=16)
  plain, again = (run.plan(dataclasses.replace(config, remat=remat), toy, "flatten") for remat in (False, True))
  assert not plain.meta.build_encoder().remat
  assert again.meta.build_encoder().remat
  assert not again.meta.build_encoder("float32").remat  # what is only read keeps nothing anyway
  assert Config.read(again.config.to_json()).remat
  old = {name: value for name, value in again.config.to_json().items() if name != "remat"}
  assert not Config.read(old).remat
