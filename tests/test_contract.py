"""What every method of METHODS promises, checked on each of them: a new method is tested without an edit here."""

import functools
import inspect
import re
import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx import nn, options, train
from sslx.pretext import METHODS, build
from sslx.types import Pretext, UserError

ENCODERS = ("conv:widths=4-8", "mlp:widths=16,code=8", "conv:widths=4-8,norm=batch")
CLASSES, B = 4, 5
RATE = 0.05


def make(method: str, encoder: str, features: str = "flatten") -> Pretext:
  return build(method, nn.build(encoder), features, CLASSES, {})


def make_batch(n: int, height: int, width: int, channels: int, seed: int = 0) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(seed)
  image = rng.integers(0, 256, (n, height, width, channels), dtype=np.uint8)
  return {"image": image, "label": rng.integers(0, CLASSES, n, dtype=np.int32)}


def shapes(tree):
  return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def leaves(tree):
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


class Case:
  """One method with one encoder: jitted once, shared by the tests below."""

  def __init__(self, method: str, encoder: str):
    self.name, self.spec = method, encoder
    self.pretext = make(method, encoder)
    self.batch = make_batch(B, 9, 7, 3)
    self.key = jax.random.key(7)
    try:
      jax.eval_shape(self.pretext.transform, self.key, self.batch)
    except UserError:  # the method wants square images, see test_sizes
      self.batch = make_batch(B, 9, 9, 3)
    self.init = jax.jit(self.pretext.init)
    self.transform = jax.jit(self.pretext.transform)
    self.grad = jax.jit(jax.value_and_grad(self.pretext.loss, has_aux=True))
    self.encode = jax.jit(self.pretext.encode)

  @functools.cached_property
  def fresh(self):
    return self.init(jax.random.key(1), self.batch)

  @functools.cached_property
  def params(self):
    """Fresh parameters moved to a generic point: a zero-initialised head would stop every gradient."""
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda p: np.asarray(p + 0.1 * rng.standard_normal(p.shape), np.float32), self.fresh[0])

  @functools.cached_property
  def state(self):
    return jax.device_get(self.fresh[1])

  @functools.cached_property
  def view(self):
    return self.transform(self.key, self.batch)

  @functools.cached_property
  def graded(self):
    """((loss, (state, metrics)), gradients) at `params`."""
    return jax.device_get(self.grad(self.params, self.state, self.key, self.view))

  def features(self, image, params=None, state=None):
    return np.asarray(
      self.encode(self.params if params is None else params, self.state if state is None else state, image)
    )


@pytest.fixture(scope="module", autouse=True)
def _fast_compilation():
  old = jax.config.values["jax_disable_most_optimizations"]
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", old)


@pytest.fixture(scope="module", params=[(m, e) for m in METHODS for e in ENCODERS], ids=lambda p: "-".join(p))
def case(request):
  return Case(*request.param)


def test_init(case):
  params, state = case.fresh
  assert isinstance(params, dict)
  assert isinstance(state, dict)
  assert jax.tree.leaves(params["encoder"])
  assert bool(state["encoder"]) == ("batch" in case.spec)
  for name, leaf in leaves(params).items():
    assert leaf.dtype == np.float32, name
    assert np.isfinite(leaf).all(), name
  one = {name: array[:1] for name, array in case.batch.items()}  # the batch gives shapes only: one image will do
  assert shapes(jax.eval_shape(case.pretext.init, case.key, one)) == shapes(case.fresh)
  other = leaves(case.init(jax.random.key(2), case.batch)[0]["encoder"])
  kernels = [name for name in other if "kernel" in name]
  assert kernels
  for name in kernels:
    assert np.any(other[name] != leaves(params["encoder"])[name]), name


def test_loss_and_gradients(case):
  (loss, (state, metrics)), grads = case.graded
  assert loss.shape == ()
  assert loss.dtype == np.float32
  assert np.isfinite(loss)
  assert all(np.shape(m) == () and np.isfinite(m) for m in metrics.values())
  assert "loss" not in metrics  # the train step adds it
  for role in case.params:
    role_grads = leaves(grads[role])
    assert all(np.isfinite(g).all() for g in role_grads.values())
    assert any(np.any(g) for g in role_grads.values()), role
  for name, g in leaves(grads["encoder"]).items():
    assert np.any(g), f"{name}: the loss does not read it"
  assert shapes(state) == shapes(case.state)
  moved = [np.any(a != b) for a, b in zip(jax.tree.leaves(state["encoder"]), jax.tree.leaves(case.state["encoder"]), strict=True)]
  assert all(moved)  # batch statistics, where there are any
  updated = jax.eval_shape(case.pretext.update, case.params, state, jnp.zeros((), jnp.int32))
  assert shapes(updated) == shapes(case.state)


def test_gradient_matches_finite_difference(case):
  """Along a random direction: a stray stop_gradient, or a loss that is not what is differentiated, shows here."""
  rng = np.random.default_rng(5)
  (_, _), grads = case.graded
  direction = jax.tree.map(lambda p: rng.standard_normal(p.shape).astype(np.float32), case.params)
  expected = sum(np.sum(g * d) for g, d in zip(jax.tree.leaves(grads), jax.tree.leaves(direction), strict=True))

  def along(h: float) -> float:
    moved = jax.tree.map(lambda p, d: p + np.float32(h) * d, case.params, direction)
    return float(case.grad(moved, case.state, case.key, case.view)[0][0])

  h = 1e-3
  np.testing.assert_allclose((along(h) - along(-h)) / (2 * h), expected, rtol=0.05, atol=0.05)


def test_transform(case):
  view = leaves(case.view)
  assert all(np.isfinite(leaf).all() for leaf in view.values())
  assert all(len(leaf) % B == 0 for leaf in view.values())
  again, other = leaves(case.transform(case.key, case.batch)), leaves(case.transform(jax.random.key(8), case.batch))
  for name, leaf in view.items():
    np.testing.assert_array_equal(again[name], leaf)
  stochastic = [name for name in view if np.any(view[name] != other[name])]

  def differs(a, b):
    """[B]: in which samples' slots a and b differ, for slots laid out [k * B] and [B * k]."""
    unequal = (a != b).reshape(len(a), -1).any(1)
    return unequal.reshape(-1, B).any(0), unequal.reshape(B, -1).any(1)

  # What happens to an image does not depend on the others in the batch.
  image = case.batch["image"].copy()
  image[2] = 255 - image[2]
  changed = leaves(case.transform(case.key, {**case.batch, "image": image}))
  allowed = np.arange(B) == 2
  for name, leaf in view.items():
    assert any(not np.any(d & ~allowed) for d in differs(leaf, changed[name])), name
  assert any(np.any(leaf != changed[name]) for name, leaf in view.items())

  # Each image draws its own randomness: five copies of one become five views.
  copies = {name: np.repeat(array[:1], B, 0) for name, array in case.batch.items()}
  drawn = leaves(case.transform(case.key, copies))
  for name in stochastic:
    for layout in (drawn[name].reshape(-1, B, *drawn[name].shape[1:]).swapaxes(0, 1),):
      assert len({sample.tobytes() for sample in layout}) > 1, name

  # Raw bytes and floats are the same images.
  floats = {**case.batch, "image": case.batch["image"].astype(np.float32) / 255}
  for name, leaf in leaves(jax.jit(case.pretext.transform)(case.key, floats)).items():
    np.testing.assert_allclose(leaf, view[name], atol=1e-5, err_msg=name)


def test_encode(case):
  image = case.batch["image"]
  z = case.features(image)
  assert z.dtype == np.float32
  assert z.shape[0] == B
  assert z.ndim == 2
  assert np.isfinite(z).all()
  assert z.std(0).max() > 0
  np.testing.assert_array_equal(case.features(image), z)
  # evaluation mode: the other images of the batch do not matter, nor its size, nor u8 or float
  np.testing.assert_allclose(case.features(np.concatenate([image[:1], 255 - image[1:]]))[0], z[0], rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(case.features(image[3:4].astype(np.float32) / 255)[0], z[3], rtol=1e-4, atol=1e-5)
  # what a checkpoint of the encoder restores is all that encode reads: no head, no other state
  params = {role: p if role == "encoder" else jax.tree.map(lambda x: x + 1, p) for role, p in case.params.items()}
  np.testing.assert_array_equal(case.features(image, params=params), z)
  if case.state["encoder"]:
    moved = jax.tree.map(lambda s: s + 1, case.state)
    assert np.abs(case.features(image, state=moved) - z).max() > 1e-3


def test_train_step(case):
  """One step equals its definition written out, consumes its input, and compiles once."""
  tx = optax.sgd(RATE)
  first = train.make_init(case.pretext, tx)(jax.random.key(1), case.batch)
  ts = first._replace(params=jax.tree.map(jnp.array, case.params))
  key, params = first.key, case.params
  state, data = jax.device_get(ts.state), {name: jnp.asarray(np.concatenate([a, a])) for name, a in case.batch.items()}
  indices = np.array([9, 1, 7, 3, 5], np.int32)
  key_data = np.asarray(jax.random.key_data(key))
  step = train.make_train_step(case.pretext, tx)
  for i in range(2):
    old = ts
    transform_key, loss_key = jax.random.split(
      jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(key_data)), np.int32(i))
    )
    batch = {name: np.asarray(array)[indices] for name, array in data.items()}
    (loss, (state, metrics)), grads = case.grad(params, state, loss_key, case.transform(transform_key, batch))
    params = jax.tree.map(lambda p, g: np.asarray(p) - np.float32(RATE) * np.asarray(g), params, grads)
    state = case.pretext.update(params, state, jnp.asarray(i, jnp.int32))
    ts, got = step(ts, data, indices)
    assert int(ts.step) == i + 1
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((old.params, old.state)))
    np.testing.assert_allclose(got["loss"], loss, rtol=1e-4)
    assert set(got) == {"loss", *metrics}
    for name, leaf in leaves(ts.params).items():
      np.testing.assert_allclose(leaf, leaves(params)[name], rtol=1e-3, atol=1e-4, err_msg=name)
    for name, leaf in leaves(ts.state).items():
      np.testing.assert_allclose(leaf, leaves(state)[name], rtol=1e-3, atol=1e-4, err_msg=name)
  assert step._cache_size() == 1
  for name, g in leaves(case.graded[1]).items():
    if np.any(g):
      assert np.any(leaves(ts.params)[name] != leaves(case.params)[name]), name


def test_loss_falls(case):
  """On one view, fifteen steps by the sign of the gradient."""
  params, state = jax.device_get(case.fresh)
  losses = []
  for _ in range(16):
    (loss, (state, _)), grads = jax.device_get(case.grad(params, state, case.key, case.view))
    params = jax.tree.map(lambda p, g: p - np.float32(0.003) * np.sign(g), params, grads)
    losses.append(float(loss))
  assert min(losses[-3:]) < losses[0] - 0.005, losses


def test_show(case):
  if case.pretext.show is None:
    pytest.skip("shows nothing")
  pictures = jax.jit(case.pretext.show)(case.params, case.state, case.key, case.batch)
  assert pictures
  for title, image in pictures.items():
    assert isinstance(title, str)
    assert image.shape == case.batch["image"].shape, title
    assert image.min() >= 0, title
    assert image.max() <= 1, title
  originals = [image for image in pictures.values() if np.allclose(image, case.batch["image"] / 255.0, atol=1e-6)]
  assert originals  # what it is compared with


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(28, 28, 1), (27, 27, 3), (27, 31, 3), (5, 16, 1)], ids=str)
def test_sizes(method, size):
  """By shapes alone: every encoder, odd and non-square sizes, colours, batches of 2 and 7."""
  key = jax.random.key(0)
  for encoder in (*ENCODERS, "rotnet", "conv:widths=4-8-8,down=stride,code=3") if min(size) > 6 else ENCODERS:
    pretext = make(method, encoder)
    batch = make_batch(2, *size)
    try:
      jax.eval_shape(pretext.transform, key, batch)
    except UserError as error:
      assert size[0] != size[1]
      assert "square" in str(error)
      assert f"{size[0]}x{size[1]}" in str(error)
      continue
    params, state = jax.eval_shape(pretext.init, key, batch)
    for n in (2, 7):
      batch = make_batch(n, *size)
      view = jax.eval_shape(pretext.transform, key, batch)
      loss, (after, _) = jax.eval_shape(pretext.loss, params, state, key, view)
      assert loss.shape == ()
      assert shapes(after) == shapes(state)
      z = jax.eval_shape(pretext.encode, params, state, batch["image"])
      assert z.shape[0] == n
      assert z.shape[1] > 0
      if pretext.show:
        assert {p.shape for p in jax.eval_shape(pretext.show, params, state, key, batch).values()} == {(n, *size)}


@pytest.mark.parametrize("method", METHODS)
def test_features_are_read_as_asked(method):
  pretext = make(method, "conv:widths=4-8", "block1:grid2+block2:pool")
  batch = make_batch(2, 12, 12, 1)
  params, state = jax.eval_shape(pretext.init, jax.random.key(0), batch)
  assert jax.eval_shape(pretext.encode, params, state, batch["image"]).shape == (2, 4 * 4 + 8)


@pytest.mark.parametrize("method", METHODS)
def test_documented(method):
  factory = METHODS[method].factory
  assert factory.__doc__
  doc = inspect.getmodule(factory).__doc__
  assert doc
  if "num_classes" not in options.parameters(factory):  # the supervised baseline is nobody's paper
    assert re.search(r"[A-Z]\w+.*\b(19|20)\d\d\b", doc, re.DOTALL), "cite authors and year"
  assert re.search(r"^ +L\w* = ", doc, re.MULTILINE), "give the equation"


@pytest.mark.parametrize("method", METHODS)
def test_hyper_parameters(method):
  factory = METHODS[method].factory
  for name, p in options.parameters(factory).items():
    assert p.annotation is not p.empty, name
    if p.default is p.empty:
      assert name == "num_classes", f"{name} needs a default: build gives num_classes only"
      continue
    assert has_type(p.default, p.annotation), f"{name}={p.default!r} is not {p.annotation}"
  texts = [line.split("  ")[1] for line in options.describe(factory).splitlines() if "taken from" not in line]
  defaults = {n: p.default for n, p in options.parameters(factory).items() if p.default is not p.empty}
  parsed = options.parse(factory, [t for t in texts if t != "(none)"], "--hp")
  assert parsed == defaults
  assert {n: type(v) for n, v in parsed.items()} == {n: type(v) for n, v in defaults.items()}


def has_type(value, annotation) -> bool:
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is typing.Literal:
    return value in arguments
  if origin is tuple:
    return isinstance(value, tuple) and all(type(v) is int for v in value)
  if origin in (types.UnionType, typing.Union):
    return any(has_type(value, a) for a in arguments)
  return type(value) is annotation


@pytest.mark.parametrize("method", METHODS)
def test_unknown_hyper_parameter_names_the_nearest(method):
  with pytest.raises(UserError, match="has no option"):
    options.parse(METHODS[method].factory, ["no_such_thing=1"], "--hp")
