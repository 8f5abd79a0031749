"""What the tests of methods share: batches, methods with compiled functions, features, and trees compared."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax

from sslx import nn, pretext
from sslx.modalities import MODALITIES
from sslx.ops.sound import RAW_PAD
from sslx.ops.text import FIRST, PAD, UNKNOWN, Vocabulary
from sslx.tasks import TASKS
from sslx.training import loop, step
from sslx.training.hooks import log_to
from sslx.types import Pretext

KEY = jax.random.key(0)
PREPARE = MODALITIES["image"].prepare
TINY = "mlp:widths=6,code=4"
JITTED = ("init", "loss", "transform", "update", "show")


def pixels(n: int, height: int, width: int, channels: int, seed: int = 0, least: int = 0) -> np.ndarray:
  """Random raw images, u8 [n,height,width,channels]."""
  return np.random.default_rng(seed).integers(least, 256, (n, height, width, channels), dtype=np.uint8)


def prepared(raw: np.ndarray) -> np.ndarray:
  """Raw images as methods get them."""
  return np.asarray(raw, np.float32) / np.float32(255)


def make_batch(n: int = 6, height: int = 6, width: int = 6, channels: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
  """Random images as methods get them."""
  return {"x": prepared(pixels(n, height, width, channels, seed))}


def recordings(lengths: Sequence[int], samples: int, seed: int = 0) -> np.ndarray:
  """Random raw recordings, i16 [n,samples]: a gliding tone each, and noise, cut where it has no room, and padded."""
  rng, time = np.random.default_rng(seed), np.arange(samples) / 8000
  raw = np.full((len(lengths), samples), RAW_PAD, np.int16)
  for sound, length in zip(raw, lengths, strict=True):
    length = min(length, samples)
    low, glide = rng.uniform(200, 1500), rng.uniform(1000, 6000)
    tone = np.sin(2 * np.pi * (low * time + glide * time**2 / 2))[:length]
    sound[:length] = 6000 * rng.uniform(0.5, 1) * (tone + 0.2 * rng.standard_normal(length))
  return raw


COUNTS = np.array([400 // (i + 2) for i in range(60)])
WORDS = Vocabulary(tuple(f"word{chr(97 + i // 8)}{chr(97 + i % 8)}" for i in range(60)), COUNTS, 1 + COUNTS // 3, 90)
"""Of the texts that tests make."""


def texts(lengths: Sequence[int], most: int, seed: int = 0) -> np.ndarray:
  """Random raw texts of these lengths, i32 [n,most]: words of WORDS as often as it says, a few unknown ones."""
  rng = np.random.default_rng(seed)
  raw = np.full((len(lengths), most), PAD, np.int32)
  for row, length in zip(raw, lengths, strict=True):
    length = min(length, most)
    row[:length] = FIRST + rng.choice(len(WORDS), length, p=COUNTS / COUNTS.sum())
    row[:length][rng.random(length) < 0.05] = UNKNOWN
  return raw


def network(encoder: str) -> nn.Encoder:
  """The encoder of such a text, for the words of tests."""
  return nn.build(encoder, vocabulary=WORDS)


def heard(raw: Any) -> Any:
  """Raw recordings, of numpy or jax, as methods get them."""
  return raw.astype(np.float32) / np.float32(-RAW_PAD)


def build(
  method: str, encoder: str, hp: dict[str, Any] | None = None, classes: int = 3, reading: str = "flatten"
) -> Pretext:
  """The method on the encoder of such a text; with a task of `classes` classes and a reading where it reads targets."""
  task = TASKS["classification"]([str(i) for i in range(classes)])
  return pretext.build(method, network(encoder), hp or {}, task, reading, WORDS)


def jitted(method: Pretext) -> Pretext:
  """The method with its functions compiled as a whole: operation by operation, each is a compilation of its own."""
  functions: dict[str, Any] = {name: getattr(method, name) for name in JITTED}
  compiled = {name: jax.jit(function) for name, function in functions.items() if function}
  if method.decode:
    compiled["decode"] = jax.jit(method.decode, static_argnums=3)  # the shape of one x
  return method._replace(**compiled)


@functools.cache
def make(method: str, encoder: str, **hp: Any) -> Pretext:
  """`build`, compiled, once for each combination."""
  return jitted(build(method, encoder, hp))


def prepare_for(encoder: str) -> Callable[[Any], Any]:
  """Of the modality that the encoder of such a text reads."""
  return MODALITIES[modality_of(encoder)].prepare


def modality_of(encoder: str) -> str:
  """What the encoder of such a text reads; images where it reads anything."""
  made = network(encoder)
  return "video" if made.clips else "text" if made.ids else "sound" if made.axes == 1 else "image"


def features(encoder: str, params: dict, state: dict, raw: Any, reading: str = "flatten") -> np.ndarray:
  """Of raw images, through the one door."""
  prepare = prepare_for(encoder)
  return np.asarray(nn.Representation(network(encoder), reading, params["encoder"], state["encoder"], prepare)(raw))


def trained(
  method: Pretext, tx: optax.GradientTransformation, raw: np.ndarray, steps: int, batch_size: int, log_every: int
) -> list[dict[str, Any]]:
  """The log of a run on raw images: a row every `log_every` steps."""
  rows: list[dict[str, Any]] = []
  ts = step.make_init(method, tx, PREPARE)(KEY, {"x": raw[:1]})
  how = loop.Loop(steps=steps, batch_size=batch_size, seed=0, log_every=log_every)
  loop.fit(ts, step.make_train_step(method, tx, PREPARE), {"x": raw}, how, [log_to(rows.append)])
  return rows


def squares(n: int = 256, size: int = 12, seed: int = 0) -> np.ndarray:
  """Raw images of a bright square of side 5 on grey: what is hidden or blurred of it can be told from the rest."""
  rng = np.random.default_rng(seed)
  raw = np.full((n, size, size, 1), 60, np.uint8)
  for image, (top, left) in zip(raw, rng.integers(0, size - 4, (n, 2)), strict=True):
    image[top : top + 5, left : left + 5] = 220
  return raw


def metrics_on_other_squares(method: Pretext, steps: int) -> dict[str, Any]:
  """After some steps of Adam on `squares`."""
  raw, tx = {"x": squares()}, optax.adam(3e-3)
  ts = step.make_init(method, tx, PREPARE)(KEY, raw)
  ts, _ = step.make_train_step(method, tx, PREPARE)(ts, raw, np.tile(np.arange(len(raw["x"])), (steps, 1)))
  return method.loss(ts.params, ts.state, KEY, method.transform(KEY, {"x": prepared(squares(seed=1))}))[1][1]


init = jax.jit(nn.init, static_argnums=0)
apply = jax.jit(nn.apply, static_argnums=0, static_argnames="train")


def assert_trees(a: Any, b: Any, **tolerance: float) -> None:
  """Leaf by leaf, in the order of their names."""
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, **tolerance)


def generic_point(pretext: Pretext, batch: dict[str, np.ndarray]) -> tuple[Any, Any]:
  """(params, state) at a generic point: fresh layers may be zero, and zero hides mistakes."""
  rng = np.random.default_rng(0)
  params, state = pretext.init(KEY, batch)
  moved = jax.tree.map(lambda p: np.asarray(p) + np.float32(0.3) * rng.standard_normal(p.shape, np.float32), params)
  return moved, state
