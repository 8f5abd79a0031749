"""What every method of METHODS promises, checked on each of them: a new method is tested without an edit here."""

import functools
import inspect

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pretexts import (
  WORDS,
  assert_trees,
  build,
  features,
  modality_of,
  network,
  pixels,
  prepare_for,
  prepared,
  recordings,
  texts,
)

from sslx import nn
from sslx.ops import text
from sslx.ops.sound import PAD, is_sound
from sslx.pretext import METHODS
from sslx.training import parallel
from sslx.training import step as training
from sslx.types import Pretext, Refusal, TrainState, gathered

ENCODERS = ("conv:widths=6,norm=batch", "mlp:widths=16,code=8")  # of images
FRONTS = {"sound": "mel:bands=9+", "text": "bag:words=50+"}  # in front of them, for other signals
OF_ITS_KIND = {  # small ones, for methods that need a kind of encoder
  "conv": "conv:widths=6,norm=group",
  "split": "split:widths=8-8",
  "vit": "vit:width=8,depth=2,heads=2,patch=3",
  "wave": "wave:width=16,context=16",
  "mel+gru": "mel:bands=16+gru:width=16,context=16",
  "words": "words:width=8",
  "transformer": "transformer:width=16,depth=2,heads=2",
  "grid": "frames+grid:widths=8-8,depth=1,code=8",
}
CLASSES, B = 4, 5
LENGTHS, SAMPLES = (1600, 900, 1333, 1280, 401), 1600  # of B recordings
TEXTS, LONGEST = (40, 23, 1, 33, 7), 40  # words of B texts
RATE = 0.05


def images_of(method: str) -> bool:
  return "image" in METHODS[method].modalities


def suitable(method: str, encoder: str) -> str:
  """`encoder`, or a small one of the kind that the method needs: it refuses others in one line that names the flag."""
  kind = METHODS[method].encoder.partition(":")[0]
  try:
    build(method, encoder, classes=CLASSES)
  except Refusal as error:
    if f"--method={method}" in str(error) and f"--encoder={kind}" in str(error):
      front = next((front for front in FRONTS.values() if encoder.startswith(front)), "")
      return f"{front * images_of(method)}{OF_ITS_KIND[kind]}"
    raise
  return encoder


def make(method: str, encoder: str, reading: str = "flatten") -> Pretext:
  spec = suitable(method, encoder)
  hp = dict(METHODS[method].settings_for(modality_of(spec)))
  return build(method, spec, hp, classes=CLASSES, reading=reading)


def make_batch(n: int, height: int, width: int, channels: int, seed: int = 0) -> dict[str, np.ndarray]:
  """Prepared images and classes."""
  y = np.random.default_rng(seed + 1).integers(0, CLASSES, n, dtype=np.int32)
  return {"x": prepared(pixels(n, height, width, channels, seed)), "y": y}


def make_sounds(n: int, samples: int = SAMPLES, seed: int = 0) -> dict[str, np.ndarray]:
  """Raw recordings of different lengths and classes."""
  y = np.random.default_rng(seed + 1).integers(0, CLASSES, n, dtype=np.int32)
  return {"x": recordings((LENGTHS * n)[:n], samples, seed), "y": y}


def make_texts(n: int, words: int = LONGEST, seed: int = 0) -> dict[str, np.ndarray]:
  """Raw texts of different lengths and classes."""
  y = np.random.default_rng(seed + 1).integers(0, CLASSES, n, dtype=np.int32)
  return {"x": texts((TEXTS * n)[:n], words, seed), "y": y}


def make_clips(n: int, frames: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
  """Raw clips and classes."""
  y = np.random.default_rng(seed + 1).integers(0, CLASSES, n, dtype=np.int32)
  return {"x": pixels(n * frames, 12, 10, 3, seed).reshape(n, frames, 12, 10, 3), "y": y}


MAKE = {"sound": make_sounds, "text": make_texts, "video": make_clips}


def shapes(tree):
  return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def leaves(tree):
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def copy(tree):
  """numpy copies: a view of a buffer would stop its donation."""
  return jax.tree.map(np.array, tree)


def numbers(tree, seed: int):
  """Arrays for the shapes in `tree`: a generic point of parameter space, without compiling an init."""
  rng = np.random.default_rng(seed)

  def one(path, leaf):
    name, noise = jax.tree_util.keystr(path), rng.standard_normal(leaf.shape).astype(np.float32)
    if "kernel" in name:
      return noise / np.float32(np.sqrt(np.prod(leaf.shape[:-1])))
    return 1 + noise / 10 if "scale" in name else noise / 10

  return jax.tree_util.tree_map_with_path(one, tree)


def refusal(pretext: Pretext, batch) -> str:
  """Why the method does not take such images; empty where it does."""
  try:
    jax.eval_shape(pretext.transform, jax.random.key(0), batch)
  except Refusal as error:
    return str(error)
  return ""


class Case:
  """One method with one encoder: jitted once, shared by the tests below."""

  def __init__(self, method: str, encoder: str):
    self.name, self.spec = method, suitable(method, encoder)
    self.pretext = make(method, encoder)
    self.modality, self.prepare, self.key = modality_of(self.spec), prepare_for(self.spec), jax.random.key(7)
    self.sound = self.modality == "sound"
    if self.modality in MAKE:
      raw = MAKE[self.modality](B)
      self.batch = {**raw, "x": np.asarray(self.prepare(raw["x"]))}
    else:
      self.batch = make_batch(B, 9, 7, 3)
      if refusal(self.pretext, self.batch):  # it wants square images, see test_sizes
        self.batch = make_batch(B, 9, 9, 3)
    self.shapes = jax.eval_shape(self.pretext.init, self.key, self.batch)
    self.params = numbers(self.shapes[0], 3)
    self.init = jax.jit(self.pretext.init)
    self.transform = jax.jit(self.pretext.transform)
    self.grad = jax.jit(jax.value_and_grad(self.loss, has_aux=True))
    self.update = jax.jit(self.pretext.update)

  def loss(self, params, state, key, view):
    """As a function of all params, also where the method's reads rows of them."""
    return self.pretext.loss(gathered(self.pretext, params, view), state, key, view)

  @functools.cached_property
  def fresh(self):
    return copy(self.init(self.key, self.batch))

  @property
  def state(self):
    return self.fresh[1]

  @functools.cached_property
  def view(self):
    first = self if self.modality != "image" else get_case(self.name)  # images are seen alike, whatever the encoder
    return self.transform(self.key, self.batch) if first is self else first.view

  def raw(self, n: int, seed: int = 0) -> np.ndarray:
    """Other raw x in the shape of the batch's."""
    if self.modality in MAKE:
      return MAKE[self.modality](n, seed=seed)["x"]
    return pixels(n, *self.batch["x"].shape[1:], seed=seed)

  @functools.cached_property
  def graded(self):
    """((loss, (state, metrics)), gradients) at `params`."""
    return jax.device_get(self.grad(self.params, self.state, self.key, self.view))

  @functools.cached_property
  def moments(self):
    """[(state, what `graded` is in that state)]: at the start, and long after where a method has phases: what they
    train, they train together.
    """
    late = copy(self.update(self.params, self.state, jnp.asarray(10**6, jnp.int32)))
    if all(np.array_equal(leaf, leaves(self.state)[name]) for name, leaf in leaves(late).items()):
      return [(self.state, self.graded)]
    return [
      (self.state, self.graded),
      (late, jax.device_get(self.grad(self.params, late, self.key, self.view))),
    ]

  def features(self, x, params=None, state=None) -> np.ndarray:
    return features(self.spec, self.params if params is None else params, self.state if state is None else state, x)


get_case = functools.cache(lambda method, encoder=ENCODERS[0]: Case(method, encoder))


OF_IMAGES = [name for name in METHODS if images_of(name)]
SOUNDS = [
  (name, FRONTS["sound"] + ENCODERS[0] if images_of(name) else OF_ITS_KIND[kind])
  for name, method in METHODS.items()
  if "sound" in method.modalities
  for kind in (("",) if images_of(name) else ("wave", "mel+gru"))
  if images_of(name) or suitable(name, OF_ITS_KIND[kind]) == OF_ITS_KIND[kind]
]
"""(method, encoder) of sound: methods of images behind a front, those of sound alone with all encoders they take."""
BAGS = [
  (name, FRONTS["text"] + ENCODERS[1] if images_of(name) else OF_ITS_KIND[METHODS[name].encoder.partition(":")[0]])
  for name, method in METHODS.items()
  if "text" in method.modalities
]
"""(method, encoder) of text, likewise."""
CLIPS = [(name, OF_ITS_KIND[method.encoder]) for name, method in METHODS.items() if method.modalities == ("video",)]
"""(method, encoder) of methods of video alone; those of images read its frames, see `families/clips.py`."""
each_method = pytest.mark.parametrize("method", METHODS)
each_method_of_images = pytest.mark.parametrize("method", OF_IMAGES)
each_sound = pytest.mark.parametrize(("method", "encoder"), SOUNDS)
each_case = pytest.mark.parametrize(
  ("method", "encoder"), [*((name, encoder) for name in OF_IMAGES for encoder in ENCODERS), *SOUNDS, *BAGS, *CLIPS]
)


@pytest.fixture
def case(method, encoder):
  return get_case(method, encoder)


@each_case
def test_init_shapes(case):
  params, state = case.shapes
  assert isinstance(params, dict)
  assert isinstance(state, dict)
  assert shapes((params["encoder"], state["encoder"])) == shapes(
    jax.eval_shape(functools.partial(nn.init, network(case.spec)), case.key, case.batch["x"])
  )
  assert bool(state["encoder"]) == ("batch" in case.spec)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
  assert all(leaf.size for leaf in jax.tree.leaves(case.shapes))  # a checkpoint does not take an empty array
  one = {name: array[:1] for name, array in case.batch.items()}  # the batch gives shapes only: one image will do
  assert shapes(jax.eval_shape(case.pretext.init, case.key, one)) == shapes(case.shapes)


@each_case
def test_loss_and_gradients(case):
  read, moved = set(), set()
  for before, ((loss, (state, metrics)), grads) in case.moments:
    assert loss.shape == ()
    assert loss.dtype == np.float32
    assert np.isfinite(loss)
    assert all(np.shape(m) == () and np.isfinite(m) for m in metrics.values())
    assert "loss" not in metrics  # the train step adds it
    assert all(np.isfinite(g).all() for g in leaves(grads).values())
    read |= {name for name, g in leaves(grads).items() if np.any(g)}
    assert shapes(state) == shapes(case.state)
    stats = leaves(before["encoder"])
    moved |= {name for name, leaf in leaves(state["encoder"]).items() if np.any(leaf != stats[name])}
    updated = jax.eval_shape(case.pretext.update, case.params, state, jnp.zeros((), jnp.int32))
    assert shapes(updated) == shapes(case.state)
  for role, params in case.params.items():
    assert read & set(leaves({role: params})), role
  assert read >= set(leaves({"encoder": case.params["encoder"]}))  # the others the loss does not read
  assert moved == set(leaves(case.state["encoder"]))  # batch statistics


@each_method
def test_gradient_matches_finite_difference(method):
  """Along a random direction: a stray stop_gradient, or a loss that is not what is differentiated, shows here."""
  if METHODS[method].stops_gradients:
    pytest.skip("its equation stops gradients; its own tests check where")
  case, rng = get_case(method, ENCODERS[1]), np.random.default_rng(5)  # batch statistics amplify kinks of the relu
  (_, _), grads = case.graded
  direction = jax.tree.map(lambda p: rng.standard_normal(p.shape).astype(np.float32), case.params)
  expected = sum(np.sum(g * d) for g, d in zip(jax.tree.leaves(grads), jax.tree.leaves(direction), strict=True))

  def along(h: float) -> float:
    moved = jax.tree.map(lambda p, d: p + np.float32(h) * d, case.params, direction)
    return float(case.grad(moved, case.state, case.key, case.view)[0][0])

  # a large step crosses kinks of the relu, a small one drowns in rounding: one of them must agree
  slopes = [(along(h) - along(-h)) / (2 * h) for h in (1e-3, 1e-4, 3e-5)]
  if not np.isclose(slopes, expected, rtol=0.05, atol=0.05).any():  # a step without kinks that rounding leaves alone
    slopes = [slope_in_float64(case, direction, 1e-6)]
  assert np.isclose(slopes, expected, rtol=0.05, atol=0.05).any(), (slopes, expected)


def slope_in_float64(case: Case, direction: dict, h: float) -> float:
  in_float64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64  # before jax 0.8
  with in_float64(True):
    wide = functools.partial(
      jax.tree.map, lambda x: np.asarray(x, np.float64) if np.issubdtype(x.dtype, np.floating) else x
    )
    params, state, view = wide(case.params), wide(case.state), wide(case.view)
    loss = jax.jit(lambda params: case.loss(params, state, case.key, view)[0])
    up, down = (jax.tree.map(lambda p, d, t=t: p + t * d, params, direction) for t in (h, -h))
    return float(loss(up) - loss(down)) / (2 * h)


@each_method
def test_transform(method):
  case = get_case(method)
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
  x = case.batch["x"].copy()
  x[2] = x[3] if case.modality == "text" else 1 - x[2]
  changed = leaves(case.transform(case.key, {**case.batch, "x": x}))
  allowed = np.arange(B) == 2
  for name, leaf in view.items():
    assert any(not np.any(d & ~allowed) for d in differs(leaf, changed[name])), name
  assert any(np.any(leaf != changed[name]) for name, leaf in view.items())

  # Each image draws its own randomness: five copies of one become five views, or as many as there are to be drawn.
  copies = {name: np.repeat(array[:1], B, 0) for name, array in case.batch.items()}
  drawn = [leaves(case.transform(jax.random.key(k), copies)) for k in range(5)]

  def samples(leaf) -> list[set[bytes]]:
    """What each copy became, in both layouts."""
    rows = leaf.reshape(len(leaf), -1)
    slots = [rows.reshape(-1, B, rows.shape[1]).swapaxes(0, 1), rows.reshape(B, -1, rows.shape[1])]
    return [{sample.tobytes() for sample in layout} for layout in slots]

  for name in stochastic:  # with one of a few keys: on images this small two may be cut at the same place by chance
    each = [samples(view[name]) for view in drawn]
    most = [min(B, len(set.union(*layouts))) for layouts in zip(*each, strict=True)]  # of a coin two, however many toss
    assert any([len(layout) for layout in layouts] == most for layouts in each), name


@each_case
def test_features(case):
  """`nn.Representation` reads what a method leaves behind: it gets the encoder's params and statistics alone."""
  raw = case.raw(B)
  z = case.features(raw)
  assert z.dtype == np.float32
  assert z.shape[0] == B
  assert z.ndim == 2
  assert np.isfinite(z).all()
  assert z.std(0).max() > 0
  # evaluation mode: the other images of the batch do not matter
  np.testing.assert_allclose(
    case.features(np.concatenate([raw[:1], case.raw(B, seed=1)[1:]]))[0], z[0], rtol=1e-5, atol=1e-5
  )
  if case.state["encoder"]:
    moved = jax.tree.map(lambda s: s + 1, case.state)
    assert np.abs(case.features(raw, state=moved) - z).max() > 1e-3


@each_case
def test_init(case):
  params, _ = case.fresh
  assert all(np.isfinite(leaf).all() for leaf in leaves(case.fresh).values())
  kernels = {name: leaf for name, leaf in leaves(params["encoder"]).items() if "kernel" in name}
  assert kernels or case.modality == "text"
  for kernel in kernels.values():
    assert kernel.std() == pytest.approx(np.prod(kernel.shape[:-1]) ** -0.5, rel=0.3)  # LeCun's
  other = leaves(case.init(jax.random.key(0), case.batch)[0]["encoder"])
  assert all(np.any(other[name] != kernel) for name, kernel in kernels.items())


@each_method
def test_train_step(method):
  """Steps equal their definition written out, consume their input, and compile once. With batch statistics."""
  case, tx = get_case(method), optax.sgd(RATE)
  params, state, key = case.params, case.state, jax.random.key(11)
  device = jax.tree.map(jnp.array, (params, state))
  ts = TrainState(jnp.zeros((), jnp.int32), jax.random.key(11), *device, tx.init(params))
  raw = np.concatenate([case.raw(B)] * 2)
  data = {"x": jnp.asarray(raw), "y": jnp.asarray(np.concatenate([case.batch["y"]] * 2))}
  indices = np.array([9, 1, 7, 3, 5], np.int32)
  batch = {"x": np.asarray(case.prepare(raw[indices])), "y": np.asarray(data["y"])[indices]}
  step = training.make_train_step(case.pretext, tx, case.prepare)
  touched = {name for _, (_, grads) in case.moments[1:] for name, g in leaves(grads).items() if np.any(g)}
  for i in range(2):
    transform_key, loss_key = jax.random.split(jax.random.fold_in(key, i))
    (loss, (state, metrics)), grads = case.grad(params, state, loss_key, case.transform(transform_key, batch))
    touched |= {name for name, g in leaves(grads).items() if np.any(g)}
    params = jax.tree.map(lambda p, g: p - np.float32(RATE) * np.asarray(g), params, grads)
    state = case.update(params, state, jnp.asarray(i, jnp.int32))
    old = ts
    ts, measured = step(ts, data, indices[None])
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
    assert set(measured) == {"loss", *metrics}
    np.testing.assert_allclose(measured["loss"], [loss], rtol=1e-4)
    assert int(ts.step) == i + 1
    for mine, its in ((params, ts.params), (state, ts.state)):
      its = leaves(copy(its))
      for name, leaf in leaves(mine).items():
        np.testing.assert_allclose(its[name], leaf, rtol=1e-3, atol=1e-4, err_msg=name)
  assert step._cache_size() == 1
  assert touched == set(leaves(params))  # every parameter is trained


@each_case
def test_loss_falls(case):
  """On one view, fifteen steps by the sign of the gradient."""
  params, state = case.params, case.state
  losses = []
  for _ in range(16):
    (loss, (state, _)), grads = jax.device_get(case.grad(params, state, case.key, case.view))
    params = jax.tree.map(lambda p, g: p - np.float32(0.003) * np.sign(g), params, grads)
    losses.append(float(loss))
  assert min(losses[-3:]) < losses[0] - 0.005, losses


@pytest.mark.parametrize(("method", "encoder"), [*((name, ENCODERS[0]) for name in OF_IMAGES), *SOUNDS, *BAGS, *CLIPS])
def test_show(case):
  """Of sound: spectrograms, PAD behind their ends."""
  if case.pretext.show is None:
    pytest.skip("shows nothing")
  pictures = jax.jit(case.pretext.show)(case.params, case.state, case.key, case.batch)
  assert pictures
  x = network(case.spec).spectrogram(case.batch["x"])
  for title, image in pictures.items():
    assert isinstance(title, str)
    assert image.shape == x.shape, title
    assert ((image >= 0) | (case.sound & (image == PAD))).all(), title
    assert image.max() <= (1 if x.dtype.kind == "f" else text.FIRST + len(WORDS) - 1), title
  originals = [image for image in pictures.values() if np.allclose(image, x, atol=1e-6)]
  assert originals  # what it is compared with


@each_sound
def test_padding_is_nothing_to_learn_from(case):
  """Methods of sound alone: with more of it loss, metrics and gradient are the same. What methods of images are given
  of it is PAD, and weighs nothing where they weigh places.
  """
  if not images_of(case.name):
    longer = np.pad(case.batch["x"], ((0, 0), (0, 333)), constant_values=PAD)
    view = case.transform(case.key, {**case.batch, "x": longer})
    (loss, (_, metrics)), gradient = case.grad(case.params, case.state, case.key, view)
    np.testing.assert_allclose(loss, case.graded[0][0], rtol=1e-5)
    assert_trees(metrics, case.graded[0][1][1], rtol=1e-5)
    assert_trees(gradient, case.graded[1], rtol=1e-3, atol=1e-5)
    return
  padding = ~np.asarray(is_sound(nn.build(case.spec).spectrogram(case.batch["x"])))
  assert padding.any()
  view = {name: np.asarray(leaf) for name, leaf in case.view.items()}
  if "view1" in view or METHODS[case.name].labels:  # views have lengths of their own
    return
  assert (view["x"][padding] == PAD).all()
  assert (view["x"][~padding] > PAD).all()
  weight = np.broadcast_to(view["weight"], view["x"].shape)
  assert (weight[padding] == 0).all()
  assert weight[~padding].mean() > 0
  if "target" in view:
    moved = {**view, "target": np.where((weight == 0) & (view["x"] == PAD), 0.5, view["target"]).astype(np.float32)}
    np.testing.assert_allclose(case.grad(case.params, case.state, case.key, moved)[0][0], case.graded[0][0], rtol=1e-5)


@each_sound
@pytest.mark.parametrize("samples", [1600, 1653, 999])
def test_lengths(method, encoder, samples):
  """By shapes alone: recordings of any length, another batch size than at init."""
  key, pretext, prepare = jax.random.key(0), make(method, encoder), prepare_for(encoder)

  def heard(n: int):
    raw = make_sounds(n, samples)
    return {**raw, "x": np.asarray(prepare(raw["x"]))}

  params, state = jax.eval_shape(pretext.init, key, heard(2))
  view = jax.eval_shape(pretext.transform, key, heard(7))
  loss, (after, _) = jax.eval_shape(pretext.loss, params, state, key, view)
  assert loss.shape == ()
  assert shapes(after) == shapes(state)
  if pretext.show:
    shown = {p.shape for p in jax.eval_shape(pretext.show, params, state, key, heard(7)).values()}
    assert shown == {(7, -(-samples // 80), nn.build(suitable(method, encoder)).blocks[0][1]().bands, 1)}


@each_method_of_images
@pytest.mark.parametrize(
  ("size", "encoder"),
  [
    ((28, 28, 1), "rotnet"),
    ((27, 27, 3), "conv:widths=4-8-12,down=stride,norm=none,code=3"),
    ((27, 31, 3), "conv:widths=4-8"),
    ((5, 16, 1), "conv:widths=4-8,norm=batch"),
    ((9, 8, 1), "mlp:widths=16,code=8"),
  ],
  ids=str,
)
def test_sizes(method, size, encoder):
  """By shapes alone: odd and non-square sizes, colours, another batch size than at init."""
  key, pretext = jax.random.key(0), make(method, encoder)
  batch = make_batch(2, *size)
  if size[2] == 1 and "colour" in refusal(pretext, batch):  # its transform and its init say so
    assert f"--method={method}" in refusal(pretext, batch)
    with pytest.raises(Refusal, match=f"--method={method}.*colour"):
      jax.eval_shape(pretext.init, key, batch)
    return
  if size[0] != size[1] and refusal(pretext, batch):
    assert "square" in refusal(pretext, batch)
    assert f"{size[0]}x{size[1]}" in refusal(pretext, batch)
    return
  params, state = jax.eval_shape(pretext.init, key, batch)
  batch = make_batch(7, *size)
  view = jax.eval_shape(pretext.transform, key, batch)
  loss, (after, _) = jax.eval_shape(pretext.loss, params, state, key, view)
  assert loss.shape == ()
  assert shapes(after) == shapes(state)
  if pretext.show:
    assert {p.shape for p in jax.eval_shape(pretext.show, params, state, key, batch).values()} == {(7, *size)}


@each_method
@pytest.mark.parametrize("encoder", ["conv:widths=4-8", "mlp:widths=8-8"])
def test_a_method_that_reads_features_reads_them_as_asked(method, encoder):
  """Of supervised training: the width of its head. The others get no reading at all."""
  if not METHODS[method].labels:
    assert "features" not in inspect.signature(METHODS[method].factory).parameters
    return
  reading = "block1:grid2+block2:pool" if encoder.startswith("conv") else "dense1+dense2"
  params, _ = jax.eval_shape(make(method, encoder, reading).init, jax.random.key(0), make_batch(2, 12, 12, 1))
  assert params["head"]["Dense_0"]["kernel"].shape == (
    {"conv": 4 * 4 + 8, "mlp": 8 + 8}[encoder[:4].strip(":")],
    CLASSES,
  )


@each_method
def test_four_devices(method):
  """Steps on a mesh, over which the batch is shared out, are those of one device to rounding: contrastive losses see
  all negatives, batch normalisation the whole batch, and every device keeps the same state.
  """
  case, tx = get_case(method), optax.sgd(RATE)
  raw, y = case.raw(16), np.tile(case.batch["y"], 4)[:16]
  rows = np.random.default_rng(0).permutation(16).reshape(2, 8).astype(np.int32)
  made = []
  for mesh in (None, parallel.mesh_over(jax.devices()[:4])):
    start = jax.tree.map(jnp.array, (case.params, case.state))
    ts = TrainState(jnp.zeros((), jnp.int32), jax.random.key(11), *start, tx.init(case.params))
    ts = parallel.replicate(ts, mesh)
    data = parallel.replicate({"x": jnp.asarray(raw), "y": jnp.asarray(y)}, mesh)
    step = training.make_train_step(case.pretext, tx, case.prepare, mesh=mesh)
    for i in range(2):
      ts, metrics = step(ts, data, parallel.share(rows[i : i + 1], mesh, axis=1))
    assert parallel.mesh_of(ts) == mesh
    made.append((ts.params, ts.state, metrics))
  for (name, on_one), on_four in zip(leaves(made[0]).items(), leaves(made[1]).values(), strict=True):
    np.testing.assert_allclose(on_four, on_one, rtol=1e-4, atol=1e-5, err_msg=name)
