"""What experiments.label_next does: a model and its data are found, examples chosen, a table and a page written."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, runs
from experiments.shared.cli import FLAGS
from experiments.shared.terminal import announce
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset, Split
  from sslx.evaluation.selection import Choice
  from sslx.fitted import Fitted
  from sslx.report.labelling import Item

STRATEGIES = ("auto", "typical", "margin", "coreset", "random")
NEXT, SUSPECTS, PAGE = "label_next.csv", "suspects.csv", "labels.html"
LETTERS = 4000  # of a text on the page
WHY = {
  "typical": "The most typical example of a cluster with the fewest labels",
  "margin": "The model hesitates between two classes",
  "coreset": "Far from all that have labels",
  "random": "Drawn at random",
}
SCORES = {"typical": "typicality", "margin": "margin", "coreset": "distance", "random": ""}


class Given(NamedTuple):
  """What --model is, and the data that it is of."""

  name: str
  """In words: `simclr, frozen`."""
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


class Shown(NamedTuple):
  """What the table and the page show."""

  table: str
  """Its file's name."""
  headers: Sequence[str]
  lines: Sequence[Sequence[Any]]
  items: "Sequence[Item]"
  title: str
  told: str
  """In a sentence."""


# ---- what is given ---------------------------------------------------------------------------------------------------


def given() -> Given:
  """By --model, --dataset and --out.

  Raises:
    UserError: neither a model nor a pretraining is there, its data are not, or their task is not of one class each.
  """
  from sslx import models
  from sslx.training import checkpoint

  if not FLAGS.model:
    raise UserError("--model: name a run directory, such as --model=runs/denoise-mnist-conv-1a2b3c4d.")
  place = Path(FLAGS.model).expanduser()
  try:
    folder = models.find(place)
  except UserError:
    if not place.is_dir() or not any(checkpoint.steps(part) for part in (place, place / "checkpoints")):
      raise
    made = _encoder(place)
  else:
    made = _model(folder)
  if made.dataset.task.name not in ("classification", "none"):
    raise UserError(f"--dataset={made.dataset.name}: its task is {made.dataset.task.name}; classes can be labelled.")
  return made


def _model(folder: Path) -> Given:
  """A classifier."""
  from sslx import models

  fitted = models.read(folder)
  if fitted.task.name != "classification":
    raise UserError(f"--model={FLAGS.model}: its task is {fitted.task.name}; classes can be labelled.")
  run = folder.parent.parent if folder.parent.name == models.IN_RUN else folder
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
  method = fitted.about.get("method")
  name = ", ".join(filter(None, [method if method != "none" else None, fitted.mode]))
  return Given(name, _out(run), fitted.predictor.represent, fitted, dataset, _root(spec))


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
  return Given(str(config.method), _out(place), represent, None, dataset, _root(spec))


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


# ---- what is labelled next -------------------------------------------------------------------------------------------


def chosen(given: Given) -> Shown:
  """--count examples without a label, by --strategy.

  Raises:
    UserError: there is none, or margin is asked of an encoder alone.
  """
  from sslx.evaluation import selection

  part, rows, labelled = _pool(given)
  pool, fitted = _split(given, part), given.fitted
  if not len(rows):
    raise UserError(f"--model={FLAGS.model}: every example of {given.dataset.name} has a label.")
  count = min(FLAGS.count, len(rows)) if not FLAGS["count"].present else FLAGS.count
  strategy = FLAGS.strategy
  if strategy == "auto":
    strategy = "typical" if fitted is None else selection.usual(len(labelled), fitted.task.outputs)
  if strategy == "margin" and fitted is None:
    raise UserError("--strategy=margin: is for a model with a classifier, and this is an encoder alone; try typical.")
  announce(f"choosing among {len(rows):,} examples ({strategy})")
  choice = _choice(given, pool, rows, labelled, strategy, count)
  picked = rows[choice.rows]
  suggested = [None] * count if fitted is None else _said(fitted, pool.x[picked])
  lines, items = [], []
  for number, (row, score) in enumerate(zip(picked, choice.scores, strict=True), 1):
    said, score_text = suggested[number - 1], f"{score:.4g}" if SCORES[strategy] and math.isfinite(score) else ""
    why = f"{WHY[strategy]}{f'; {SCORES[strategy]} {score_text}' if score_text else ''}."
    name, sure = said or ("", None)
    path = name_of(given, part, int(row))
    lines.append([path, number, strategy, score_text, name, "" if sure is None else f"{sure:.4f}"])
    items.append(_item(given, pool, int(row), path)._replace(why=why, suggested=name, confidence=sure))
  told = f"{count:,} of {len(rows):,} examples without a label, by the strategy {strategy}, {len(labelled):,} have one."
  headers = ["path", "rank", "strategy", "score", "suggested", "confidence"]
  return Shown(NEXT, headers, lines, items, f"What to label next: {given.name} on {given.dataset.name}", told)


def _split(given: Given, part: str) -> "Split":
  split = given.dataset.train if part == "train" else given.dataset.unlabeled
  assert split is not None
  return split


def _pool(given: Given) -> tuple[str, np.ndarray, np.ndarray]:
  """(the split to choose from, its rows without a label, the training rows that are labelled)."""
  train, unlabeled, everything = given.dataset.train, given.dataset.unlabeled, np.arange(len(given.dataset.train))
  if unlabeled is not None and len(unlabeled):
    return "unlabeled", np.arange(len(unlabeled)), everything if train.y is not None else everything[:0]
  known = np.zeros(0, np.int64) if given.fitted is None else given.fitted.rows
  known = known[known < len(everything)]  # of a --smoke run fewer examples are there
  return "train", np.setdiff1d(everything, known), known


def _choice(
  given: Given, pool: "Split", rows: np.ndarray, labelled: np.ndarray, strategy: str, count: int
) -> "Choice":
  from sslx.evaluation import selection
  from sslx.evaluation.features import extract
  from sslx.evaluation.propagation import principal

  empty = np.zeros((len(rows), 0), np.float32)
  if strategy == "margin":
    assert given.fitted is not None
    return selection.choose(strategy, empty, empty, _probabilities(given.fitted, _taken(pool, rows)), count, FLAGS.seed)
  if strategy == "random":
    return selection.choose(strategy, empty, empty, None, count, FLAGS.seed)
  features = extract(given.represent, _taken(pool, rows))
  theirs = extract(given.represent, given.dataset.train.x[labelled]) if len(labelled) else features[:0]
  space = principal(np.concatenate([features, theirs]))
  return selection.choose(strategy, space(features), space(theirs), None, count, FLAGS.seed)


def _taken(split: "Split", rows: np.ndarray) -> Any:
  from sslx.data.types import take

  return take(split.x, rows)


def _probabilities(fitted: "Fitted", x: Any) -> np.ndarray:
  """f32 [N,K] of raw x [N,...]."""
  assert fitted.task.probabilities is not None
  return fitted.task.probabilities(fitted.predictor.outputs(x) / fitted.temperature)


def _said(fitted: "Fitted", x: Any) -> list[tuple[str, float]]:
  """(class, how sure) of each."""
  probabilities = _probabilities(fitted, x)
  return [(fitted.task.names[row.argmax()], float(row.max())) for row in probabilities]


# ---- what a person sees ----------------------------------------------------------------------------------------------


def name_of(given: Given, part: str, row: int) -> str:
  """How labels.csv names an example: its file below the data's folder, or else `train/12`."""
  files = _split(given, part).files
  if files is None:
    return f"{part}/{row}"
  return _named(Path(files[row]), given.root)


def _item(given: Given, split: "Split", row: int, name: str) -> "Item":
  """An example as the page shows it: the picture of its file, or what the model sees of it; a recording to be heard."""
  from sslx.data import images
  from sslx.report import sounds
  from sslx.report.labelling import Item, encoded

  dataset, file = given.dataset, None if split.files is None else split.files[row]
  x = np.asarray(split.x[np.array([row])])
  kind = dataset.modality.name
  if kind == "text":
    return Item(name, text=_text(file) or " ".join(dataset.vocabulary.decode(x[0]) if dataset.vocabulary else ()))
  if kind == "image" and file is not None:
    try:
      return Item(name, picture=encoded(images.decode(file, 3, background=images.colour(FLAGS.background), bits=FLAGS.bits)))
    except UserError:  # a mask or a number is read from it otherwise
      pass
  picture = encoded(dataset.modality.draw(x, dataset.meaning)[0])
  if kind != "sound":
    return Item(name, picture=picture)
  wave = np.asarray(dataset.modality.prepare(x))[0]
  return Item(name, picture=picture, sound=sounds.encoded(wave[wave > -1], dataset.rate))


def _text(file: str | None) -> str:
  """The beginning of a file, as it is written."""
  from sslx.data.text_files import decoded

  try:
    text = "" if file is None else next(decoded(file), "")
  except UserError:
    return ""
  return text if len(text) <= LETTERS else f"{text[:LETTERS]} …"


def write(given: Given, shown: Shown) -> None:
  """The table and the page; then says where they are, and what to do with them."""
  from experiments import called
  from sslx import report
  from sslx.report import records, terminal
  from sslx.report.labelling import write_labelling

  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows([shown.headers, *shown.lines])
  table, page = given.directory / shown.table, given.directory / PAGE
  records.write_text(table, text.getvalue())
  write_labelling(page, shown.title, shown.told, shown.items, given.classes, _earlier(given))
  cells = report.Cells(list(shown.headers), [list(map(str, line)) for line in shown.lines[:10]])
  terminal.show([shown.told], style="bold")
  terminal.show([report.Table("The first of them", cells)], elsewhere=table.name)
  spec = FLAGS.dataset if FLAGS["dataset"].present else given.dataset.name
  cli.tell(f"Table: {table}")
  cli.tell(f"Page: {page}")
  cli.tell(f"Label on the page, save labels.csv, then: {called('low_label')} --dataset={spec} --labels_file=labels.csv")


def _earlier(given: Given) -> dict[str, str]:
  """{path: class} of --labels_file, which the page saves again with the new ones, under the names that it gives."""
  if FLAGS.labels_file is None:
    return {}
  table, root = Path(FLAGS.labels_file).expanduser(), given.root
  with table.open(newline="", encoding="utf-8-sig") as file:
    rows = [(row["path"], row["class"]) for row in csv.DictReader(file)]
  places = [table.parent] if root is None else [root, root / "unlabeled", table.parent]
  return {_named(next((p / path for p in places if (p / path).exists()), Path(path)), root): name for path, name in rows}


def _named(path: Path, root: Path | None) -> str:
  path = path.absolute()
  return path.relative_to(root).as_posix() if root is not None and path.is_relative_to(root) else str(path)


# ---- what is labelled wrong ------------------------------------------------------------------------------------------


def suspects(given: Given) -> Shown:
  raise NotImplementedError
