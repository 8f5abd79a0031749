"""A panel of methods within a time: each is pretrained a little, those whose frozen encoders are best go on for longer.

Successive halving (Jamieson & Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization, 2016,
arXiv 1502.07943). Budgets are numbers of steps. Those of the first round are fixed; later ones are what the time left
allows at the speed of the first, and are written to plan.json before they are run, so that the same command, run again,
makes the same choices.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments import START
from experiments.shared import cli, methods, runs, table
from experiments.shared.cli import FLAGS
from experiments.shared.methods import IMAGES, NONE, Pretrained, Variant
from experiments.shared.table import Row, Timings
from sslx.types import Refusal, UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset
  from sslx.evaluation.bench import Bench, Labelled

FIRST = 1 / 8  # of a method's usual budget, in the first round
ROUNDS = ((3, 0.3, 2.0), (1, 0.6, 10.0))
"""(How many go on, the share of the time left that their pretraining takes, how many usual budgets at most)."""
PLAN = "plan.json"


class Suited(NamedTuple):
  """What is tried on a modality."""

  methods: tuple[str, ...]
  encoder: str | None = None
  """None: that of a comparison of several methods."""


SUITED = {
  "image": Suited(("vicreg", "simclr", "swav", "barlow_twins", "cpc_v2", "inpaint", "rotation", "denoise")),
  "sound": Suited(("cpc_audio", "apc", "vicreg", "simclr"), "mel+gru:width=256,context=256"),
  "text": Suited(("skipgram", "cbow"), "words"),
}


class Contest(NamedTuple):
  """What the rounds share."""

  experiment: str
  dataset: "Dataset"
  directory: Path
  labelled: "Labelled"
  """Folds at the largest number of labels alone."""
  encoder: "nn.Encoder"
  timings: Timings


class Entrant(NamedTuple):
  """A method after a round."""

  variant: Variant
  pretrained: Pretrained
  steps: int
  seconds: float
  """That a step took."""
  rows: list[Row]


class Clock:
  """How much of --minutes is left; what earlier commands took of it is read from plan.json, and written there."""

  def __init__(self, directory: Path, minutes: float) -> None:
    from sslx.report import records

    rows = records.read_rows(directory / PLAN) if (directory / PLAN).exists() else []
    self.path, self.limit, self.rows = directory / PLAN, 60 * minutes, rows
    self.before = max((row["spent"] for row in rows), default=0.0)

  @property
  def spent(self) -> float:
    """Seconds since the start, with those of earlier commands."""
    return self.before + time.monotonic() - START

  @property
  def left(self) -> float:
    """Seconds."""
    return max(0.0, self.limit - self.spent)

  def decided(self, name: str, decide: Callable[[], Any]) -> Any:
    """What was decided under this name by an earlier command, else what `decide` gives, which is written down."""
    from sslx.report import records

    known = [row["value"] for row in self.rows if row["name"] == name]
    if known:
      return known[0]
    row = {"name": name, "value": records.plain(decide()), "spent": self.spent}
    records.append_row(self.path, row)
    self.rows.append(row)
    return row["value"]


def without_test(dataset: "Dataset") -> "Dataset":
  """Its labelled examples alone, for folds of them: what is chosen must not see the test split."""
  from sslx.data.types import no_examples

  return dataclasses.replace(dataset, test=no_examples(dataset.train))


def few(dataset: "Dataset") -> "Dataset":
  """As many labelled examples of the training split as --labels says, drawn as --subset says; the others are not.

  Raises:
    UserError: several numbers, or more than there are.
  """
  from sslx.data import Split
  from sslx.data.lazy import take

  if FLAGS.labels == ["all"]:
    return dataset
  y, counts = dataset.train.targets(), cli.label_counts(dataset, 0)
  if len(counts) > 1:
    raise UserError(f"--labels={','.join(FLAGS.labels)}: give one number; a curve of smaller ones is made by itself.")
  (labels,) = counts
  rows = np.sort(dataset.task.subset(y, [labels], FLAGS.seed, FLAGS.subset)[labels])
  rest = Split(take(dataset.train.x, np.setdiff1d(np.arange(len(y)), rows)), None)
  without = dataclasses.replace(dataset, train=rest).pretraining_x  # and those of unlabeled, which may be lazy
  return dataclasses.replace(dataset, train=dataset.train.part(rows), unlabeled=Split(without, None))


def usual_steps(method: str, share: float, images: bool) -> int:
  """So large a share of a method's usual budget: of images as many as in comparisons, else its own steps."""
  from sslx.pretext import check

  steps = IMAGES / batch_size(method) if images else check(method).steps
  return max(2, round(share * steps))


def batch_size(method: str) -> int:
  """Of its pretraining."""
  from sslx.pretext import check

  return FLAGS.batch_size or check(method).batch_size


def entered(contest: Contest, variant: Variant, steps: int, modes: Sequence[str] = ("frozen",)) -> Entrant:
  """A method, pretrained for so many steps and judged by the folds. Raises Refusal where it does not fit."""
  from sslx.report import records

  variant = variant._replace(images=steps * batch_size(variant.method))
  job = runs.setup(methods.config_of(variant), contest.dataset)
  represent, seconds = runs.pretrain(job)
  contest.timings["pretraining"] = contest.timings.get("pretraining", 0) + seconds
  represent = represent._replace(reading=runs.reading(contest.dataset.task))
  pretrained = Pretrained(job.config.to_json(), represent, {}, job.directory / "figures/pretext.png")
  history = records.read_rows(job.directory / "metrics.jsonl")
  speeds = [speed for row in history if (speed := records.examples_per_second(row)) is not None]
  seconds = batch_size(variant.method) / float(np.median(speeds)) if speeds else 0.0
  entrant = Entrant(variant, pretrained, steps, seconds, [])
  return entrant._replace(rows=rows_of(contest, entrant, modes))


def bench_of(contest: Contest, entrant: Entrant | None) -> "Bench":
  """Of an encoder that was pretrained, or of an untrained one."""
  from sslx import nn
  from sslx.evaluation import features

  dataset = contest.dataset
  if entrant is not None:
    return table.bench(dataset, contest.labelled, entrant.pretrained.represent)
  like = nn.Representation(contest.encoder, dataset.task.reading, {}, {}, dataset.modality.prepare)
  return table.bench(dataset, contest.labelled, features.random(like, dataset)(FLAGS.seed))


def line_of(contest: Contest, entrant: Entrant | None) -> table.Line:
  """What its rows say of it; None: of what is not pretrained."""
  title, config = (NONE, None) if entrant is None else (entrant.variant.title, entrant.pretrained.config)
  return table.Line(contest.experiment, contest.directory, title, FLAGS.encoder, config)


def rows_of(contest: Contest, entrant: Entrant | None, modes: Sequence[str]) -> list[Row]:
  """Its rows, judged by the contest's folds; None: of what is not pretrained."""
  line, bench = line_of(contest, entrant), bench_of(contest, entrant)
  return table.run_modes(line, bench, modes, contest.timings, pictured=False).rows


def contested(contest: Contest, names: Sequence[str], clock: Clock) -> tuple[list[Entrant], list[Row]]:
  """(The last state of every method, the best of the last round first; a line on each round's methods)."""
  from sslx import report

  images = contest.dataset.modality.name == "image"
  standing: list[Entrant] = []
  lines: list[Row] = []
  begin = clock.left
  for name in names:
    late = standing and clock.left < 0.55 * begin  # a slow machine tries fewer of them, in their order
    if clock.decided(f"try {name}", lambda late=late: not late):
      try:
        standing.append(entered(contest, Variant(name, name), usual_steps(name, FIRST, images)))
      except Refusal as error:
        lines.append({"method": name, "left out": str(error)})
    else:
      lines.append({"method": name, "left out": "no time: --minutes is too short to try it"})
  final: dict[str, Entrant] = {entrant.variant.title: entrant for entrant in standing}
  for number, (kept, share, largest) in enumerate(ROUNDS, 2):
    standing.sort(key=lambda entrant: -_goodness(entrant.rows))
    standing = standing[:kept]
    going = []
    for place, entrant in enumerate(standing):
      most = usual_steps(entrant.variant.method, largest, images)

      def decide(entrant: Entrant = entrant, place: int = place, most: int = most, share: float = share) -> int:
        seconds = share * clock.left / (len(standing) - place)
        return min(most, int(seconds / max(entrant.seconds, 1e-6)))

      steps = clock.decided(f"round {number}, {entrant.variant.title}", decide)
      going.append(entered(contest, entrant.variant, steps) if steps > entrant.steps else entrant)
    standing = going
    final |= {entrant.variant.title: entrant for entrant in standing}
  order = sorted(final.values(), key=lambda entrant: (-entrant.steps, -_goodness(entrant.rows)))
  for entrant in order:
    (entry,) = report.summarise(entrant.rows)
    lines.append({"method": entrant.variant.title, "steps": entrant.steps, "frozen": report.score_text(entry)})
  return order, lines


def _goodness(rows: Sequence[Row]) -> float:
  from sslx import report
  from sslx.report import statistics

  (entry,) = report.summarise(rows)
  return statistics.goodness(entry.score, entry.mean)


def references(contest: Contest, modes: Sequence[str]) -> list[Row]:
  """The rows of what is not pretrained."""
  cli.say(f"without pretraining: {', '.join(modes)}")
  return rows_of(contest, None, modes)
