"""The figures of a run directory: which there are, those of pretraining, and predictors' answers, kept so that they can
be drawn."""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
  from sslx.data import Dataset
  from sslx.evaluation.bench import Case, Labelled
  from sslx.report.pages import Figure, Kind
  from sslx.training.run import Plan
  from sslx.types import Score, Task, TrainState

PICTURED = 20  # test examples in the figures of samples
HEARD = (
  "By ear: the first recordings as they are, then the rows of the picture. A spectrogram is made a waveform again by "
  "the algorithm of Griffin and Lim; it does not tell how loud its recording was, so all of these are equally loud."
)
MODES = ("scratch", "frozen")  # whose answers are drawn, those of the first label subset
WHOLE = ("classification", "regression")  # tasks whose figures show the answers to all test examples
SAMPLES, EVERYTHING = "Test examples, first label subset.", "First label subset, whole test split."
FOLDED = "Labelled examples, each answered by a model that did not learn from it."  # where there is no test split
SPREAD = "Mean and standard deviation over label subsets."
FINDS = "A box finds a true one of its class that it overlaps by half."
FIGURES: tuple[tuple[str, "Kind", str, str], ...] = (  # file, kind, title, caption: those that a run has, in this order
  ("pretext", "picture", "What the method sees and makes", "Training examples, after pretraining."),
  (
    "views", "picture", "The views",
    "Each operation alone, then two views with all of them. Every example draws its own strengths.",
  ),
  ("predictions_frozen", "picture", "Answers, pretrained (frozen)", SAMPLES),
  ("predictions_scratch", "picture", "Answers, from scratch", SAMPLES),
  ("confusion_frozen", "plot", "Confusion, pretrained (frozen)", EVERYTHING),
  ("confusion_scratch", "plot", "Confusion, from scratch", EVERYTHING),
  ("labels_frozen", "picture", "Answers, pretrained (frozen)", SAMPLES),
  ("labels_scratch", "picture", "Answers, from scratch", SAMPLES),
  ("scatter_frozen", "plot", "Predicted against true, pretrained (frozen)", EVERYTHING),
  ("scatter_scratch", "plot", "Predicted against true, from scratch", EVERYTHING),
  ("masks_frozen", "picture", "Masks, pretrained (frozen)", SAMPLES),
  ("masks_scratch", "picture", "Masks, from scratch", SAMPLES),
  ("boxes_frozen", "picture", "Boxes, pretrained (frozen)", f"{SAMPLES} {FINDS}"),
  ("boxes_scratch", "picture", "Boxes, from scratch", f"{SAMPLES} {FINDS}"),
  ("labels", "plot", "{Score} against number of labels", SPREAD),
  (
    "loss", "plot", "Pretraining",
    "The loss and what else was watched. Each point is the mean over the steps since the one before.",
  ),
)  # fmt: skip


class Answers(NamedTuple):
  """What a predictor says of the test examples, as the figures of its task need it."""

  guess: np.ndarray
  """Of classification [N], as `Task.decide` gives it; else the answers as they are, of masks, boxes and several labels
  those of the first PICTURED examples."""
  confidence: np.ndarray | None = None
  """Of classification [N] in [0, 1], of the guess."""


def drawn(folder: Path, score: "Score", folded: bool = False) -> "list[Figure]":
  """Those of FIGURES that are in `folder`; score: what they are of, {Score} in a title; folded: if folds judged."""
  from sslx.report import statistics
  from sslx.report.pages import Figure

  others = {SAMPLES: FOLDED, EVERYTHING: FOLDED, SPREAD: "Mean and its 95% interval."} if folded else {}
  figures = [
    Figure(title.format(Score=statistics.title(score)), others.get(caption, caption), folder / f"{name}.png", kind)
    for name, kind, title, caption in FIGURES
  ]
  return [figure for figure in figures if Path(figure.path).exists()]


def pictured(case: "Case", labelled: "Labelled | None" = None) -> bool:
  """Whether the answers of a case are drawn: those of the first subset, or of the folds of the first repetition."""
  if labelled is None or labelled.folds is None:
    return case.mode in MODES and case.subset_seed == 0
  fold = labelled.folds.get(case.subset_seed)
  return case.mode in MODES and fold is not None and fold.repetition == 0


def keep(
  directory: Path,
  made: Mapping[str, Any],
  case: "Case",
  task: "Task",
  outputs: np.ndarray,
  labelled: "Labelled | None" = None,
) -> None:
  """Keeps a case's answers, from its outputs [N,...] for what judges it, in a run directory; made: what tells its row
  from others.
  """
  from sslx.report import figures, records

  if not pictured(case, labelled) or task.name not in figures.DRAWN:
    return
  if labelled is not None and labelled.judges is not None and task.name != "classification":
    return  # of masks and boxes the first few are kept, which folds have from all over the data
  if task.name == "classification" and task.probabilities is not None:
    answers = Answers(np.asarray(task.decide(outputs)), np.asarray(task.probabilities(outputs).max(1)))
  else:
    answers = Answers(np.asarray(outputs if task.name in WHOLE else outputs[:PICTURED]))
  arrays = {name: array for name, array in answers._asdict().items() if array is not None}
  with records.writing(_path(directory, made, case)) as temporary, temporary.open("wb") as file:
    np.savez(file, **arrays)


def kept(
  directory: Path, made: Mapping[str, Any], cases: "Sequence[Case]", labelled: "Labelled | None" = None
) -> "dict[Case, Answers]":
  """The answers that `keep` kept, of those of `cases` that are drawn; a file that is gone or damaged has none. Those of
  folds are put together, under the case of the first one.
  """
  found: dict[Case, Answers] = {}
  for case in (case for case in cases if pictured(case, labelled)):
    try:
      with np.load(_path(directory, made, case), allow_pickle=False) as arrays:
        found[case] = Answers(arrays["guess"], arrays.get("confidence"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
      continue
  return found if labelled is None or labelled.judges is None else _together(found, labelled.judges)


def _together(parts: "Mapping[Case, Answers]", judges: Mapping[int, np.ndarray]) -> "dict[Case, Answers]":
  """The answers to all labelled examples, in their order, of modes and numbers of labels that all folds have."""
  whole: dict[Case, Answers] = {}
  for case in parts:
    folds = {c.subset_seed: parts[c] for c in parts if (c.mode, c.labels) == (case.mode, case.labels)}
    rows = np.concatenate([judges[seed] for seed in folds])
    if case.subset_seed == 0 and np.array_equal(np.sort(rows), np.arange(len(rows))):
      order, guesses = np.argsort(rows), np.concatenate([part.guess for part in folds.values()])
      sure = [part.confidence for part in folds.values() if part.confidence is not None]
      whole[case] = Answers(guesses[order], np.concatenate(sure)[order] if sure else None)
  return whole


def _path(directory: Path, made: Mapping[str, Any], case: "Case") -> Path:
  digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:8]
  part = f"-{case.subset_seed}" if case.subset_seed else ""
  return directory / "answers" / f"{case.mode}-{case.labels}-{digest}{part}.npz"


def draw_predictions(dataset: "Dataset", folder: Path, answers: "Mapping[Case, Answers]") -> None:
  """Draws what scratch and frozen said of the test images into `folder`, each with the fewest labels that it has;
  without a test split, of the labelled images, each by a model that did not learn from it.

  Figures there of another task of the data set are taken away.
  """
  from sslx.report import figures

  for task, names in figures.DRAWN.items():
    if task != dataset.task.name:
      for path in (folder / f"{name}_{mode}.png" for name in names for mode in MODES):
        path.unlink(missing_ok=True)
  fewest: dict[str, Case] = {}
  for case in answers:
    if case.mode not in fewest or case.labels < fewest[case.mode].labels:
      fewest[case.mode] = case
  split = dataset.test if len(dataset.test) else dataset.train
  rows = sampled(len(split), PICTURED)
  if dataset.task.name != "classification":
    rows = np.arange(len(rows))  # of which alone masks and boxes are kept
  pictures = dataset.modality.draw(split.x[rows], dataset.meaning) if fewest else None
  for mode, case in fewest.items():
    for name, figure in _figures(dataset, rows, pictures, answers[case]).items():
      figures.save(figure, folder / f"{name}_{mode}.png")


def sampled(count: int, most: int) -> np.ndarray:
  """At most `most` of `count` rows, always the same random ones: data that are sorted by their classes show several."""
  return np.random.default_rng(0).permutation(count)[:most]


def looked_at(dataset: "Dataset", most: int, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
  """(x [N,...], classes i64 [N]) of at most so many random examples that pretraining may see: of train, and where these
  are too few, of unlabeled too, whose class is -1. None in place of classes, where the data set has none.
  """
  train, further, random = dataset.train, dataset.unlabeled, np.random.default_rng(seed)
  rows = random.permutation(len(train))[:most]
  x = np.asarray(train.x[rows])
  y = np.asarray(train.y[rows], np.int64) if dataset.task.name == "classification" and train.y is not None else None
  if len(x) == most or further is None:
    return x, y
  more = np.asarray(further.x[random.permutation(len(further))[: most - len(x)]])
  mixed = random.permutation(len(x) + len(more))
  return np.concatenate([x, more])[mixed], None if y is None else np.concatenate([y, np.full(len(more), -1)])[mixed]


def _figures(dataset: "Dataset", rows: np.ndarray, pictures: Any, answers: Answers) -> "dict[str, Any]":
  """By short name; pictures: of these rows of the test split, or of the training split where there is none. Of classes
  only what was decided is kept, for which a predictor's logits are too large.
  """
  from sslx.report import figures

  task, guess, sure = dataset.task, answers.guess, answers.confidence
  y = (dataset.test if len(dataset.test) else dataset.train).targets()
  if task.name != "classification":
    return figures.answers(task, pictures, y, guess)
  samples = figures.predictions(pictures, y[rows], guess[rows], task.names, None if sure is None else sure[rows])
  return {"predictions": samples, "confusion": figures.confusion(y, guess, task.names)}


def draw_pretraining(
  plan: "Plan", folder: Path, ts: "TrainState", history: Sequence[dict[str, Any]], anew: bool
) -> None:
  """Draws the figures of a pretraining that is finished into `folder`; only those that are missing, unless `anew`.

  history: rows of its metrics.
  """
  import jax

  from sslx.report import figures, sounds
  from sslx.training import run

  def wanted(name: str) -> bool:
    return anew or not (folder / name).exists()

  def examples() -> dict[str, np.ndarray]:
    return {name: np.asarray(array[sampled(len(array), 10)]) for name, array in plan.data.items()}

  if history and wanted("loss.png"):
    figures.save(figures.loss_curve(history), folder / "loss.png")
  rate = plan.config.rate
  if plan.pretext.show and (wanted("pretext.png") or (rate and wanted("pretext.json"))):
    batch = examples()
    rows = run.shown(plan.pretext, plan.modality, ts.params, ts.state, jax.random.key(1), batch)
    figures.save(figures.picture_rows(_drawn(plan, rows)), folder / "pretext.png")
    if rate:
      recordings = {"recording": np.asarray(plan.modality.prepare(jax.numpy.asarray(batch["x"])))}
      sounds.write(folder / "pretext.png", HEARD, _heard(plan, recordings | rows), rate)
  if plan.pretext.views and wanted("views.png"):
    _draw_views(plan, examples()["x"], folder / "views.png")


def _drawn(plan: "Plan", rows: Mapping[str, Any]) -> dict[str, np.ndarray]:
  return {title: plan.modality.picture(np.asarray(row), plan.meta.meaning) for title, row in rows.items()}


def _heard(plan: "Plan", rows: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
  """{title: waveforms of the first examples, without what is behind their ends}; of rows of sound."""
  import jax.numpy as jnp

  from sslx.ops.sound import PAD
  from sslx.report.sounds import MOST

  encoder = plan.meta.build_encoder()
  waves = {title: np.asarray(encoder.waveform(jnp.asarray(row[:MOST]))) for title, row in rows.items()}
  return {title: [wave[wave > PAD] for wave in row] for title, row in waves.items()}


def _draw_views(plan: "Plan", x: np.ndarray, path: Path) -> None:
  """Each operation of the method's random views alone, and all of them, twice."""
  import jax
  import jax.numpy as jnp

  from sslx.modalities import views
  from sslx.report import figures

  assert plan.pretext.views
  encoder = plan.meta.build_encoder()
  prepared = plan.modality.prepare(jnp.asarray(x))
  rows = views.pictures(plan.pretext.views, jax.random.key(1), prepared, encoder.spectrogram)
  figures.save(figures.picture_rows(_drawn(plan, rows)), path)
