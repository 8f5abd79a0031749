"""Features of whole splits, and the representations that are no pretrained encoder: raw signals and random weights."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sslx import nn
from sslx.compile import jit, jit_once
from sslx.data import Dataset
from sslx.data.lazy import Rows
from sslx.modalities import views as viewing
from sslx.training import parallel
from sslx.types import Array, Task


def extract(function: Callable[[Any], Any], x: Rows, batch_size: int = 500, mesh: Mesh | None = None) -> np.ndarray:
  """f32 [N,...], or integers: `function`, such as a Representation, of raw x [N,...]. It should be jitted: every batch
  has the same shape (the last is padded), so that one compilation serves all sets.

  mesh: devices that batches are shared out among; default: those that the weights of a Representation live on.
  """
  mesh = mesh or parallel.mesh_of(function)
  batch_size += -batch_size % (1 if mesh is None else mesh.size)
  out = []
  for start in range(0, len(x), batch_size):
    batch = np.asarray(x[np.arange(start, min(start + batch_size, len(x)))])
    padding = [(0, batch_size - len(batch))] + [(0, 0)] * (batch.ndim - 1)
    batch = np.pad(batch, padding)
    out.append(function(jnp.asarray(batch) if mesh is None else parallel.share(batch, mesh)))
    # What was computed is not waited for: the next batch is read meanwhile.
    if len(out) > 1:
      out[-2] = np.asarray(out[-2])
  made = np.concatenate(out)[: len(x)]
  return made if made.dtype.kind in "iu" else made.astype(np.float32, copy=False)


def of_views(represent: nn.Representation, views: str, x: Rows, copies: int, seed: int) -> np.ndarray:
  """f32 [copies,N,D]: features of random views of raw x [N,...], see `sslx.modalities.views`."""
  function, keys = _reader_of_views(represent.encoder, represent.reading, represent.prepare, views), itertools.count()
  weights, key = (represent.params, represent.stats), jax.random.key(seed)

  def read(batch: Array) -> Array:
    return function(*weights, jax.random.fold_in(key, next(keys)), batch)

  return np.stack([extract(read, x, mesh=parallel.mesh_of(weights)) for _ in range(copies)])


@functools.lru_cache(maxsize=16)
def _reader_of_views(encoder: nn.Encoder, reading: str, prepare: Callable[[Array], Array], views: str) -> Any:
  plain = encoder.clone(precision="float32")
  view, body = viewing.build(views, spectrogram=plain.spectrogram), plain.body

  def features(params: dict, stats: dict, key: Array, x: Array) -> Array:
    x = view(key, prepare(x))
    return plain.read(nn.apply(body, params, stats, x)[0], reading, x)

  return jit(features)


def check_maps(task: Task, encoder: nn.Encoder, x_shape: Sequence[int]) -> None:
  """Raises Refusal where a task of places would read an encoder that makes no maps of examples of this shape. Only
  shapes are computed.
  """
  if not task.is_dense:
    return

  def read(key: Array, x: Array) -> Array:
    outputs, _ = encoder.clone(precision="float32").init_with_output(key, x)
    return encoder.read(outputs, task.reading, x)

  jax.eval_shape(read, jax.eval_shape(jax.random.key, 0), jax.ShapeDtypeStruct((1, *x_shape), jnp.float32))


def raw(dataset: Dataset, task: Task, reading: str = "") -> nn.Representation:
  """The prepared signal itself; for a task of places every value of it, beside where it is; of sound a log-mel
  spectrogram, of whose time 20 equal parts are read, however long a recording is, unless `reading` says otherwise; of
  text a bag of words (tf-idf).
  """
  prepare = dataset.modality.prepare
  if task.is_dense:
    return nn.Representation(nn.PLACES, "maps1", {}, {}, prepare)
  if dataset.rate:
    return nn.Representation(nn.heard(dataset.rate), reading or "time20", {}, {}, prepare)
  if dataset.vocabulary is not None:
    return nn.Representation(nn.weighed(dataset.vocabulary), reading or "flatten", {}, {}, prepare)
  return nn.Representation(nn.RAW, reading or "flatten", {}, {}, prepare)


def check_raw(reading: str, block_names: Sequence[str]) -> None:
  """Raises UserError for a reading that the signal itself does not have; "" is its usual one."""
  if reading:
    nn.check_reading(reading, nn.RAW.block_names)


def random(like: nn.Representation, dataset: Dataset) -> Callable[[int], nn.Representation]:
  """seed -> the same encoder and reading with random weights, as `scratch` starts from and the row `random` keeps."""
  raw_x = np.zeros((1, *dataset.x_shape), dataset.train.x.dtype)
  encoder, x = like.encoder, jax.eval_shape(like.prepare, raw_x)

  @jit_once
  def init(key: Array) -> tuple[dict, dict]:
    return nn.init(encoder, key, jnp.zeros(x.shape, x.dtype))

  mesh = parallel.mesh_of(like)
  return lambda seed: like.holding(*parallel.replicate(init(jax.random.key(seed)), mesh))
