"""A `Fitted` in a folder, the model: model.json, which people can read, and model.npz with all of its arrays.

Nothing in it is code. Whenever writing is killed, the folder holds the model that was there or the new one, whole.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx import nn
from sslx.disk import sync
from sslx.evaluation.bench import Predictor
from sslx.evaluation.finetune import Placed, head_maker
from sslx.evaluation.heads import Constant, of_pixels
from sslx.evaluation.knn import Knn
from sslx.evaluation.propagation import Graph, Propagated, Space
from sslx.fitted import Fitted
from sslx.modalities import MODALITIES
from sslx.ops.text import Vocabulary
from sslx.report import records
from sslx.tasks import TASKS
from sslx.tasks.linear import Linear, Scaling
from sslx.tasks.regression import Ridge
from sslx.types import Head, Task, UserError

FORMAT = 1
TEXT, ARRAYS, NEXT = "model.json", "model.npz", ".model.npz.next"  # the last until the text says that it is the one
IN_RUN, BEST = "models", "best"  # where experiments write: RUN/models/best
Tree = dict[str, Any]  # of dicts; its leaves are arrays and values of JSON


def write(fitted: Fitted, directory: str | os.PathLike[str]) -> Path:
  """Writes a model in place of the one that is there; other files of the folder stay.

  Raises:
    UserError: an encoder that is not made from a text, or a folder that cannot be written.
  """
  directory = Path(directory)
  arrays, values = _split(_tree(fitted))
  dtypes = {path: str(array.dtype) for path, array in arrays.items() if array.dtype.isbuiltin != 1}
  buffer = io.BytesIO()
  np.savez(buffer, **{path: _as_numpy_has_it(array) for path, array in arrays.items()})
  data = buffer.getvalue()
  values |= {"format": FORMAT, "dtypes": dtypes, "arrays_sha256": hashlib.sha256(data).hexdigest()}
  try:
    records.sweep(directory)
    records.write_bytes(directory / NEXT, data)
    records.write_json(directory / TEXT, {**values, "sha256": _digest(values)})
    os.replace(directory / NEXT, directory / ARRAYS)
    sync(directory)
  except OSError as error:
    raise UserError(f"{directory}: cannot save there ({error.strerror or error}); what was there is kept.") from error
  return directory


def parts(fitted: Fitted) -> tuple[dict[str, np.ndarray], Tree]:
  """All of a model: its arrays by their '/'-joined paths, and what is left of it, in JSON's types.

  Raises:
    UserError: an encoder that is not made from a text.
  """
  return _split(_tree(fitted))


def read(directory: str | os.PathLike[str]) -> Fitted:
  """The model in a folder, as it was: its outputs are the same to the last bit.

  Raises:
    UserError: no model there, a damaged one, or one that a newer sslx wrote.
  """
  directory = Path(directory)
  values = _text_of(directory)
  for name in (ARRAYS, NEXT):  # the second where a kill came between the two
    try:
      data = (directory / name).read_bytes() if (directory / name).is_file() else b""
    except OSError as error:
      raise UserError(f"{directory / name}: cannot be read ({error.strerror}).") from error
    if hashlib.sha256(data).hexdigest() == values["arrays_sha256"]:
      break
  else:
    raise _damaged(directory / ARRAYS, "its bytes do not match the digest in model.json")
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as saved:
      dtypes = values["dtypes"]
      arrays = {path: saved[path].view(dtypes.get(path, saved[path].dtype)) for path in saved.files}
    return _fitted(_joined(arrays, values))
  except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
    written = values.get("about", {}).get("versions", {}).get("sslx", "another version")
    raise UserError(f"{directory}: a model that this sslx cannot read ({error}); {written} wrote it.") from error


def holds(directory: str | os.PathLike[str]) -> bool:
  """Whether there is a model in this very folder."""
  return (Path(directory) / TEXT).is_file()


def find(place: str | os.PathLike[str]) -> Path:
  """The folder of the model at a place: the place itself, or of a run directory its models/best.

  Raises:
    UserError: none is there.
  """
  place = Path(place)
  for directory in (place, place / IN_RUN / BEST, place / BEST):
    if holds(directory):
      return directory
  others = sorted(str(path.parent) for path in place.glob(f"{IN_RUN}/*/{TEXT}"))
  if others:
    raise UserError(f"{place}: no model is called {BEST} there; name one of {', '.join(others)}.")
  if not place.is_dir():
    raise UserError(f"{place}: no such folder; name a model's, or a run directory.")
  raise UserError(f"{place}: no model there; make one: python -m experiments.low_label --save=best ...")


# ---- heads -----------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
  """How heads of a type are written and made again."""

  type: type
  write: Callable[[Any], Tree]
  make: Callable[[Tree, Task], Head]


def _linear(head: Linear) -> Tree:
  return {**head._asdict(), "scaling": head.scaling._asdict()}


def _of_linear(tree: Tree, task: Task) -> Linear:
  return Linear(**{**tree, "scaling": Scaling(**tree["scaling"])})


def _propagated(head: Propagated) -> Tree:
  """Without the graph's edges: answers ask for its members alone."""
  space = {name: array for name, array in head.graph.space._asdict().items() if array is not None}
  return {"bank": head.graph.bank, "space": space, "k": head.graph.k, "belief": head.belief, "chosen": head.chosen}


def _of_propagated(tree: Tree, task: Task) -> Propagated:
  graph = Graph(Space(**tree["space"]), tree["bank"], None, tree["k"])
  return Propagated(graph, tree["belief"], tree["chosen"])


HEADS: dict[str, Kind] = {
  "linear": Kind(Linear, _linear, _of_linear),
  "ridge": Kind(
    Ridge,
    lambda head: {**head._asdict(), "linear": _linear(head.linear)},
    lambda tree, task: Ridge(**{**tree, "linear": _of_linear(tree["linear"], task)}),
  ),
  "knn": Kind(Knn, lambda head: head._asdict(), lambda tree, task: Knn(**tree)),
  "propagated": Kind(Propagated, _propagated, _of_propagated),
  "constant": Kind(
    Constant,
    lambda head: {"answer": head.answer, "chosen": head.chosen},
    lambda tree, task: Constant(tree["answer"], tree["chosen"]),
  ),
  "places": Kind(
    Placed,
    lambda head: {"params": head.params, "chosen": head.chosen},
    lambda tree, task: head_maker(task)(_on_device(tree["params"]), tree["chosen"]),
  ),
}


# ---- all of a model --------------------------------------------------------------------------------------------------


def _tree(fitted: Fitted) -> Tree:
  predictor, task, meaning = fitted.predictor, fitted.task, fitted.meaning
  represent, head = predictor.represent, predictor.head
  spec = represent.encoder.spec
  vocabulary = meaning if isinstance(meaning, Vocabulary) else None
  if not spec or nn.rebuild(spec, vocabulary).block_names != represent.encoder.block_names:
    raise UserError(f"this model cannot be saved: its encoder {represent.encoder} is not made by nn.build of a text.")
  kind = next(name for name, each in HEADS.items() if type(head) is each.type)
  return {
    "mode": fitted.mode,
    "rows": fitted.rows,
    "task": {"name": task.name, "names": list(task.names), "reading": task.reading},
    "modality": fitted.modality.name,
    "x_shape": list(fitted.x_shape),
    "rate": 0 if isinstance(meaning, Vocabulary) else int(meaning),
    "vocabulary": {} if vocabulary is None else _words(vocabulary),
    "encoder": {"spec": spec, "reading": represent.reading, "params": represent.params, "stats": represent.stats},
    "head": {"kind": kind, **HEADS[kind].write(head)},
    "parameters": {"trainable": predictor.trainable, "total": predictor.total},
    "temperature": fitted.temperature,
    "about": dict(fitted.about),
  }


def _fitted(tree: Tree) -> Fitted:
  words = tree.get("vocabulary")
  vocabulary = _vocabulary(words) if words else None
  task = TASKS[tree["task"]["name"]](tuple(tree["task"]["names"]))._replace(reading=tree["task"]["reading"])
  modality, saved = MODALITIES[tree["modality"]], tree["encoder"]
  weights = _on_device({name: saved.get(name, {}) for name in ("params", "stats")})
  encoder = nn.rebuild(saved["spec"], vocabulary)
  represent = nn.Representation(encoder, saved["reading"], weights["params"], weights["stats"], modality.prepare)
  head = dict(tree["head"])
  make = HEADS[head.pop("kind")].make
  predictor = Predictor(represent, make(head, of_pixels(task) if encoder is nn.PLACES else task), **tree["parameters"])
  meaning = vocabulary or tree["rate"]
  x_shape, how = tuple(tree["x_shape"]), (tree["temperature"], tree["about"])
  return Fitted(tree["mode"], tree["rows"], task, modality, x_shape, predictor, meaning, *how)


def _words(vocabulary: Vocabulary) -> Tree:
  """As arrays: tens of thousands of words are nothing to look through in a JSON file."""
  text = np.frombuffer(" ".join(vocabulary.words).encode(), np.uint8)
  return {"words": text, "counts": vocabulary.counts, "texts": vocabulary.texts, "total": vocabulary.total}


def _vocabulary(tree: Tree) -> Vocabulary:
  words = tree["words"].tobytes().decode()
  return Vocabulary(tuple(words.split(" ")) if words else (), tree["counts"], tree["texts"], tree["total"])


def _on_device(tree: Tree) -> Tree:
  return jax.tree.map(jnp.asarray, tree)


def _split(tree: Mapping[str, Any], at: str = "") -> tuple[dict[str, np.ndarray], Tree]:
  """The tree's arrays by their '/'-joined paths, and what is left of it: values of JSON."""
  arrays, values = {}, {}
  for name, value in tree.items():
    path = f"{at}{name}"
    if name in ("chosen", "about"):  # what is told, not what is computed with
      values[name] = records.plain(value)
    elif isinstance(value, Mapping):
      inner, values[name] = _split(value, f"{path}/")
      arrays |= inner
    elif hasattr(value, "dtype"):
      arrays[path] = np.asarray(value)
    else:
      values[name] = records.plain(value)
  return arrays, values


def _joined(arrays: Mapping[str, np.ndarray], values: Tree) -> Tree:
  """The tree that `_split` was given."""
  for path, array in arrays.items():
    *folders, name = path.split("/")
    tree = values
    for folder in folders:
      tree = tree.setdefault(folder, {})
    tree[name] = array
  return values


def _as_numpy_has_it(array: np.ndarray) -> Any:
  """The array, or its bits as whole numbers where numpy has no such dtype: bfloat16."""
  return array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}")


def _text_of(directory: Path) -> Tree:
  """What model.json says."""
  path = directory / TEXT
  if not path.is_file():
    raise UserError(f"{directory}: no model there ({TEXT} is missing).")
  try:
    values = json.loads(path.read_bytes())
    written = values["format"]
    if isinstance(written, int) and written > FORMAT:
      raise UserError(f"{directory}: a model of format {written}, which a newer sslx wrote; update sslx.")
    if values.pop("sha256") != _digest(values):
      raise _damaged(path, "its text does not match its digest")
  except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
    raise _damaged(path, "it is not the JSON that was written") from error
  except OSError as error:
    raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
  return values


def _digest(values: Tree) -> str:
  return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path, why: str) -> UserError:
  return UserError(f"{path}: damaged, {why}; take a copy that is whole, or make the model again.")
