"""What experiments.label_next is given: a classifier or an encoder, and the data that it is of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.shared import cli, runs
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset, Split
  from sslx.fitted import Fitted


class Given(NamedTuple):
  """What --model is, and the data that it is of."""

  name: str
  """In words: `simclr, frozen`."""
  method: str
  """Of its pretraining; empty where there is none."""
  directory: Path
  """Where results are written."""
  represent: "nn.Representation"
  fitted: "Fitted | None"
  """None: an encoder alone."""
  dataset: "Dataset"
  root: Path | None
  """The folder that names of files are relative to."""

  @property
  def classes(self) -> list[str]:
    """Those of the model, then those that the data have beside."""
    known = [] if self.fitted is None else self.fitted.task.names
    return list(dict.fromkeys([*known, *self.dataset.task.names]))

  def split(self, part: str) -> "Split":
    """Of the data: train or unlabeled."""
    split = self.dataset.train if part == "train" else self.dataset.unlabeled
    assert split is not None
    return split


def given(unseen: bool = False) -> Given:
  """By --model, --dataset and --out. unseen: the encoder of the run's pretraining in place of a classifier, where both
  are there: it did not see the labels.

  Raises:
    UserError: neither a model nor a pretraining is there, its data are not, or their task is not of one class each.
  """
  from sslx import models

  if not FLAGS.model:
    raise UserError("--model: name a run directory, such as --model=runs/denoise-mnist-conv-1a2b3c4d.")
  place = Path(FLAGS.model).expanduser()
  try:
    folder = models.find(place)
  except UserError:
    if not _is_pretraining(place):
      raise
    made = _encoder(place)
  else:
    run = folder.parent.parent if folder.parent.name == models.IN_RUN else folder
    made = _encoder(run) if unseen and _is_pretraining(run) else _model(folder, run)
  if made.dataset.task.name not in ("classification", "none"):
    raise UserError(f"--dataset={made.dataset.name}: its task is {made.dataset.task.name}; classes can be labelled.")
  return made


def _is_pretraining(place: Path) -> bool:
  from sslx.training import checkpoint

  return place.is_dir() and any(checkpoint.steps(part) for part in (place, place / "checkpoints"))


def _model(folder: Path, run: Path) -> Given:
  """A classifier; run: the directory that it lies in."""
  from sslx import models

  fitted = models.read(folder)
  if fitted.task.name != "classification":
    raise UserError(f"--model={FLAGS.model}: its task is {fitted.task.name}; classes can be labelled.")
  spec = FLAGS.dataset if FLAGS["dataset"].present else fitted.about.get("place")
  if not spec:
    raise UserError(f"--model={FLAGS.model}: does not say which data it is of; name them with --dataset.")
  _default_shape(fitted.modality.name, fitted.x_shape, fitted.meaning)
  dataset = runs.load_dataset(spec)
  theirs = fitted.modality.name, fitted.x_shape, fitted.meaning
  if (dataset.modality.name, dataset.x_shape, dataset.meaning) != theirs:
    raise UserError(
      f"--dataset={spec}: its examples are not as those that the model was trained on ({theirs[0]} of shape "
      f"{theirs[1]}); give the flags that these were read with, such as --image_size, --seconds or --min_count."
    )
  method = str(fitted.about.get("method") or "none").replace("none", "")
  name, represent = ", ".join(filter(None, [method, fitted.mode])), fitted.predictor.represent
  return Given(name, method, _out(run), represent, fitted, dataset, _root(spec))


def _encoder(place: Path) -> Given:
  """A pretraining."""
  from sslx.training.run import representation

  FLAGS["checkpoint"].value = str(place)
  tree, meta = runs.read_checkpoint(place)
  config = meta.config
  _default_shape(meta.modality, config.x_shape, config.rate)
  dataset = runs.checkpoint_dataset(meta)
  represent = representation(meta, tree, meta.flat_features)
  spec = FLAGS.dataset if FLAGS["dataset"].present else meta.place or config.dataset
  return Given(str(config.method), str(config.method), _out(place), represent, None, dataset, _root(spec))


def _default_shape(modality: str, shape: Sequence[int], meaning: Any) -> None:
  """Sets the flags by which files are read as those that the model was trained on."""
  if modality == "image" and shape[0] == shape[1]:
    cli.default(image_size=shape[0])
  if modality == "text":
    cli.default(max_length=shape[0])
  if modality == "sound":
    cli.default(sample_rate=meaning, seconds=shape[0] / meaning)


def _out(run: Path) -> Path:
  return Path(FLAGS.out) if FLAGS["out"].present else run


def _root(spec: str) -> Path | None:
  from sslx.data import path_of

  path = path_of(spec)
  return path.absolute() if path is not None and path.is_dir() else None
