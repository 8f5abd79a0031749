"""The figures of a run directory: which there are, and the answers of classifiers, kept so that they can be drawn."""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
  from sslx.data import Dataset
  from sslx.evaluation.bench import Case
  from sslx.report.pages import Figure, Kind
  from sslx.types import Score, Task

PICTURED = 20  # test images in the figure of sample predictions
MODES = ("scratch", "frozen")  # whose answers are drawn, those of the first label subset
FIGURES: tuple[tuple[str, "Kind", str, str], ...] = (  # file, kind, title, caption: those that a run has, in this order
  ("pretext", "picture", "What the method sees and makes", "The first training images, after pretraining."),
  (
    "views", "picture", "The views",
    "Each operation alone, then two views with all of them. Every image draws its own strengths.",
  ),
  ("predictions_frozen", "picture", "Answers, pretrained (frozen)", "The first test images, first label subset."),
  ("predictions_scratch", "picture", "Answers, from scratch", "The first test images, first label subset."),
  ("confusion_frozen", "plot", "Confusion, pretrained (frozen)", "First label subset, whole test split."),
  ("confusion_scratch", "plot", "Confusion, from scratch", "First label subset, whole test split."),
  ("labels", "plot", "{Score} against number of labels", "Mean and standard deviation over label subsets."),
  (
    "loss", "plot", "Pretraining",
    "The loss and what else was watched. Each point is the mean over the steps since the one before.",
  ),
)  # fmt: skip


class Answers(NamedTuple):
  """What a classifier says of the test images."""

  guess: np.ndarray
  """[N], as `Task.decide` gives it."""
  confidence: np.ndarray
  """[N] in [0, 1], of the guess."""


def drawn(folder: Path, score: "Score") -> "list[Figure]":
  """Those of FIGURES that are in `folder`; score: what they are of, {Score} in a title."""
  from sslx.report.pages import Figure

  figures = [
    Figure(title.format(Score=score.name.capitalize()), caption, folder / f"{name}.png", kind)
    for name, kind, title, caption in FIGURES
  ]
  return [figure for figure in figures if Path(figure.path).exists()]


def pictured(case: "Case") -> bool:
  """Whether the answers of a case are drawn."""
  return case.mode in MODES and case.subset_seed == 0


def keep(directory: Path, made: Mapping[str, Any], case: "Case", task: "Task", outputs: np.ndarray) -> None:
  """Keeps a case's answers, from its test outputs [N,K], in a run directory; made: what tells its row from others."""
  from sslx.report import records

  if task.probabilities is None or not pictured(case):  # what is drawn is classes
    return
  answers = Answers(np.asarray(task.decide(outputs)), np.asarray(task.probabilities(outputs).max(1)))
  with records.writing(_path(directory, made, case)) as temporary, temporary.open("wb") as file:
    np.savez(file, **answers._asdict())


def kept(directory: Path, made: Mapping[str, Any], cases: "Sequence[Case]") -> "dict[Case, Answers]":
  """The answers that `keep` kept, of those of `cases` that are drawn; a file that is gone or damaged has none."""
  found = {}
  for case in filter(pictured, cases):
    try:
      with np.load(_path(directory, made, case), allow_pickle=False) as arrays:
        found[case] = Answers(**{name: arrays[name] for name in Answers._fields})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
      continue
  return found


def _path(directory: Path, made: Mapping[str, Any], case: "Case") -> Path:
  digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:8]
  return directory / "answers" / f"{case.mode}-{case.labels}-{digest}.npz"


def draw_predictions(dataset: "Dataset", folder: Path, answers: "Mapping[Case, Answers]") -> None:
  """Draws what scratch and frozen said of the test images into `folder`, each with the fewest labels that it has."""
  from sslx.report import figures

  test, names = dataset.test, dataset.task.names
  fewest: dict[str, Case] = {}
  for case in answers:
    if case.mode not in fewest or case.labels < fewest[case.mode].labels:
      fewest[case.mode] = case
  for mode, case in fewest.items():
    guess, confidence = answers[case]
    first, y = np.arange(min(PICTURED, len(test))), test.targets()
    pictures = dataset.modality.draw(test.x[first])
    samples = figures.predictions(pictures, y[first], guess[first], names, confidence[first])
    figures.save(samples, folder / f"predictions_{mode}.png")
    figures.save(figures.confusion(y, guess, names), folder / f"confusion_{mode}.png")
