"""A model as one pure function of jax, and as files that other programs read: see `export`."""

import importlib.metadata
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx import models
from sslx.calls import public
from sslx.evaluation.modes import MODES
from sslx.evaluation.traced import traced
from sslx.fitted import Fitted
from sslx.ops.text import FIRST, Vocabulary
from sslx.report import card, records
from sslx.types import Array, UserError

RAW = {"image": "uint8", "video": "uint8", "sound": "int16", "text": "int32"}  # modality -> dtype of its raw x
PLATFORMS = ("cpu", "cuda", "tpu")
CHECKED, TOLERANCE = (1, 7), 1e-4  # batches by which an ONNX file is checked, and how far it may be off
LARGEST = 2_000_000_000  # bytes of arrays that a program may hold: its file has a limit of 2 GiB


@public
def export(fitted: Fitted, directory: str | os.PathLike[str], format: str = "stablehlo") -> Path:
  """Writes a model for programs that do without sslx, with a card that says what it is.

  stablehlo: model.stablehlo, all of the model as one program for CPUs, GPUs and TPUs, which jax alone runs.
  safetensors: model.safetensors, its arrays by name, and what is to be known of them as JSON.
  onnx: model.onnx, all of the model for ONNX Runtime and what else reads ONNX.

  Beside it stand card.json, for programs, and README.md, for people, in the form of model hubs.

  Example:
    >>> sslx.export(fitted, "classifier", "stablehlo")

  Args:
    fitted: see `fit`.
    directory: the folder, which is made if there is none.
    format: stablehlo, safetensors or onnx.

  Returns:
    The file's Path.

  Raises:
    UserError: an unknown format, a package that is missing, a model that the format has no words for, or a folder that
      cannot be written.
  """
  return write(fitted, Path(directory), (format,), [])[0]


def as_function(fitted: Fitted) -> Callable[[Array], dict[str, Array]]:
  """Raw x [B,...] -> what `predict` says of it, and how it comes to it, by name; for jit, and for any B.

  features: f32 [B,D], or maps [B,h,w,D], of the encoder.
  answers: logits f32 [B,K] of classes, numbers f32 [B,T], masks u8 [B,H,W], or boxes f32 [B,M,6].
  probabilities: f32 [B,K], of tasks of classes alone.
  """
  predictor, task = fitted.predictor, fitted.task
  head = traced(predictor.head)

  def function(x: Array) -> dict[str, Array]:
    features = predictor.represent(x)
    answers = head(features)
    if task.name == "segmentation":  # maps of places may reach beyond the image
      answers = answers[:, : fitted.x_shape[0], : fitted.x_shape[1]]
    made = {"answers": answers, "features": features}
    if task.name == "multilabel":
      made["probabilities"] = jax.nn.sigmoid(answers / fitted.temperature)
    elif task.probabilities is not None:
      made["probabilities"] = jax.nn.softmax(answers / fitted.temperature)
    return made

  return function


def write(fitted: Fitted, directory: Path, formats: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[Path]:
  """`export` in several formats. rows: of the run that it comes from, for the table of its card."""
  check(formats)
  files = {f"model.{name}": FORMATS[name](fitted) for name in dict.fromkeys(formats)}  # before the first is written
  facts = description(fitted)
  try:
    records.sweep(directory)
    for name, data in files.items():
      records.write_bytes(directory / name, data)
    records.write_json(directory / "card.json", facts)
    present = sorted(path.name for path in directory.glob("model.*"))  # of an earlier call, too
    records.write_text(directory / "README.md", card.text(facts, present, rows))
  except OSError as error:
    raise UserError(f"{directory}: cannot write there ({error.strerror or error}).") from error
  return [directory / name for name in files]


def check(formats: Sequence[str]) -> None:
  """Raises UserError for a format that there is not, or that needs a package which is missing."""
  for name in formats:
    if name not in FORMATS:
      raise UserError(f"--format={name}: no such format; expected {', '.join(FORMATS)}.")
    for package, cure in NEEDS[name].items():
      if importlib.util.find_spec(package) is None:
        raise UserError(f"--format={name}: needs the package {package}; {cure}.")


def description(fitted: Fitted) -> dict[str, Any]:
  """What a program needs to know of the exported function, and what is known of the model, in JSON's types."""
  made = jax.eval_shape(as_function(fitted), _example(fitted, 1))
  kind = MODES.get(fitted.mode.partition(":")[0])
  words = fitted.meaning.words if isinstance(fitted.meaning, Vocabulary) else None
  return records.plain({
    "input": {"x": _told(_example(fitted, 1))},
    "outputs": {name: _told(array) for name, array in made.items()},
    "modality": fitted.modality.name,
    "sample_rate": fitted.meaning if fitted.modality.name == "sound" else None,
    "words": words,
    "first_id": None if words is None else FIRST,
    "task": fitted.task.name,
    "names": fitted.task.names,
    "mode": fitted.mode,
    "reads": kind.reads if kind else None,
    "trains_encoder": kind.trains_encoder if kind else None,
    "temperature": fitted.temperature,
    "labels": len(fitted.rows),
    "parameters": fitted.predictor.total,
    "about": fitted.about,
  })  # fmt: skip


def _told(array: Any) -> dict[str, Any]:
  """The dtype and shape of an array whose first axis is the batch, of any size: null."""
  return {"dtype": str(array.dtype), "shape": [None, *array.shape[1:]]}


def _example(fitted: Fitted, batch: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct((batch, *fitted.x_shape), jnp.dtype(RAW[fitted.modality.name]))


def _stablehlo(fitted: Fitted) -> bytes:
  """A serialized `jax.export.Exported` with a batch of any size, for all PLATFORMS."""
  from jax import export

  _check_size(fitted, "stablehlo")
  (b,) = export.symbolic_shape("b")
  exported = export.export(jax.jit(as_function(fitted)), platforms=PLATFORMS)(_example(fitted, b))
  return bytes(exported.serialize())


def _safetensors(fitted: Fitted) -> bytes:
  """The arrays of `models.parts`, and as metadata the rest of it, in JSON, under the name sslx."""
  from safetensors.numpy import save

  arrays, values = models.parts(fitted)
  return save({name: np.asarray(array, order="C") for name, array in arrays.items()}, {"sslx": json.dumps(values)})


def _onnx(fitted: Fitted) -> bytes:
  """By jax2onnx; checked by ONNX Runtime, whose outputs for CHECKED batches are those of jax, up to TOLERANCE."""
  _check_size(fitted, "onnx")
  import jax2onnx  # pyright: ignore[reportMissingImports]  an extra of an environment of its own
  import onnxruntime  # pyright: ignore[reportMissingImports]

  function, names = as_function(fitted), sorted(jax.eval_shape(as_function(fitted), _example(fitted, 1)))
  logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it tells of every constant
  quiet = onnxruntime.SessionOptions()
  quiet.log_severity_level = 4
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      model = jax2onnx.to_onnx(
        lambda x: [function(x)[name] for name in names], [_example(fitted, "B")], input_names=["x"], output_names=names
      )
      data = model.SerializeToString()
      session = onnxruntime.InferenceSession(data, quiet)
      for batch in CHECKED:
        x = _random(fitted, batch)
        check_alike(dict(zip(names, session.run(names, {"x": x}), strict=True)), jax.jit(function)(x))
  except Exception as error:  # whatever they raise where they have no words for something: there are many kinds
    version, why = importlib.metadata.version("jax2onnx"), str(error).partition("\n")[0]
    raise UserError(
      f"--format=onnx: jax2onnx {version} cannot convert this model ({why}); take --format=stablehlo."
    ) from error
  return data


def _check_size(fitted: Fitted, format: str) -> None:
  size = sum(array.nbytes for array in models.parts(fitted)[0].values())
  if size > LARGEST:
    raise UserError(f"--format={format}: the model has {size:,} bytes, and such a file 2 GiB at most; use safetensors.")


def _random(fitted: Fitted, batch: int) -> np.ndarray:
  """Raw examples that mean nothing, but are of the dtype and range of those that do."""
  high = {"image": 256, "video": 256, "sound": 2**15, "text": getattr(fitted.meaning, "size", 1)}[fitted.modality.name]
  x = np.random.default_rng(0).integers(0, high, (batch, *fitted.x_shape))
  return x.astype(RAW[fitted.modality.name])


def check_alike(outputs: Mapping[str, np.ndarray], expected: Mapping[str, Array]) -> None:
  """Raises ValueError where outputs differ; of masks one pixel in a thousand may, where two classes are as likely."""
  for name, array in expected.items():
    theirs, ours = outputs[name], np.asarray(array)
    if theirs.shape != ours.shape:
      raise ValueError(f"{name} are of shape {theirs.shape}, not {ours.shape}")
    limit = TOLERANCE * np.maximum(1, np.abs(ours, dtype=np.float64))
    wrong = np.abs(theirs.astype(np.float64) - ours) > limit
    if wrong.mean() > (0.001 if ours.dtype.kind in "iu" else 0):
      raise ValueError(f"{name} differ from jax's in {wrong.mean():.1%} of their values")


FORMATS: dict[str, Callable[[Fitted], bytes]] = {"stablehlo": _stablehlo, "safetensors": _safetensors, "onnx": _onnx}
EXTRA = "pip install 'sslx[export]'"
ALONE = "./launch.sh export --format=onnx makes an environment for it, or pip install 'sslx[onnx]' into one of its own"
NEEDS: dict[str, dict[str, str]] = {  # format -> packages of extras -> where they come from
  "stablehlo": {"flatbuffers": EXTRA},
  "safetensors": {"safetensors": EXTRA},
  "onnx": {"jax2onnx": ALONE, "onnxruntime": ALONE},
}
