"""The end of experiments.worth: every way to use the winner, the curve of labels, what is said, and the model."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.shared import cli, keeping, table
from experiments.shared.cli import FLAGS
from experiments.shared.methods import NONE
from experiments.shared.panel import Clock, Contest, Entrant, bench_of, line_of, rows_of
from experiments.shared.publish import publish
from experiments.shared.table import Row

if TYPE_CHECKING:
  from sslx.data import Dataset
  from sslx.report.statistics import Entry

MODES = ("frozen", "propagate", "last:1", "full", "self_train")  # how a winner is used, as far as the time goes
SHARES = (1 / 4, 1 / 2)  # of the labels, for the curve
TITLE = "Is pretraining worth it on {name}?"


def used(contest: Contest, entrants: Sequence[Entrant], modes: Sequence[str], clock: Clock) -> list[Row]:
  """The rows of all entrants, and of the first in further ways to use it while there is time."""
  rows = [row for entrant in entrants for row in entrant.rows]
  if not entrants:
    return rows
  winner = entrants[0]
  cost = 0.0
  for mode in (mode for mode in modes if mode != "frozen"):
    if not clock.decided(f"mode {mode}", lambda cost=cost: clock.left > 1.5 * cost):
      continue
    begin = clock.spent
    rows += rows_of(contest, winner, [mode])
    cost = max(cost, clock.spent - begin)
  return rows


def conclude(
  contest: Contest,
  given: "Dataset",
  rows: Sequence[Row],
  entrants: Sequence[Entrant],
  lines: Sequence[Row],
  clock: Clock,
) -> None:
  """Chooses, draws the curve of labels, keeps the model, and writes the report.

  given: the data set with its test split, if it has one. rows: of the largest number of labels; lines: of the rounds.
  """
  from sslx import report
  from sslx.report import figures, worth
  from sslx.report.pages import Figure
  from sslx.report.tables import titled

  summary = report.summarise(rows)
  choice = worth.choose(summary)
  best = choice.entry
  winner = next((entrant for entrant in entrants if entrant.variant.title == best.method), None)
  curve = _curve(contest, winner, best.mode, clock)
  curves = report.summarise([*curve, *(row for row in rows if _same_line(row, best) or row["mode"] == best.baseline)])
  ours = [entry for entry in curves if entry.mode == best.mode and entry.method == best.method]
  scratch = [entry for entry in curves if entry.mode == best.baseline and entry.method == NONE]
  value = _unflattered(contest, rows, summary, best)
  fair = [worth.moved(entry, value - best.mean) for entry in ours]  # of one line, with the same luck
  last = next((entry for entry in scratch if entry.labels == best.labels), None)
  opening = [f"{contest.dataset.name}: {worth.verdict(choice, last, value, worth.labels_worth(fair, scratch))}"]
  more = worth.growth(ours, 2 * best.labels, value - best.mean)
  said = [worth.growth_sentence(best, more)] if more else []
  said += [_flattery(best, value, len(summary)), *_tested(contest, given, winner, best.mode)]
  measured = table.Measured([row for row in rows if _same_line(row, best)], {})
  keeping.keep([keeping.Offer(line_of(contest, winner), bench_of(contest, winner), measured)], contest.timings, value)
  folder, shown = contest.directory / "figures", []
  drawing = figures.label_curve([*ours, *scratch])
  if drawing is not None:
    figures.save(drawing, folder / "labels.png")
    shown.append(Figure("What labels are worth", "Means and 95% intervals.", folder / "labels.png", "plot"))
  tables = [report.results_table(summary)]
  panel_cells = report.Cells(["method", "steps", "frozen", "left out"], [_panel_row(line) for line in lines])
  rounds = report.Table("The panel", panel_cells, "Each method after its last round, by its frozen encoder.")
  texts = titled([*tables, rounds])
  markdown = texts + "\n".join([*(f"- {sentence}" for sentence in [*opening, *said]), ""])
  publish(
    contest.directory, TITLE.format(name=contest.dataset.name), cli.command(contest.experiment),
    cli.flag_names({}, rows[0]["settings"]), rows, summary, shown, contest.timings, tables=[rounds, *tables],
    sentences=report.caveats(summary), first=tables, lead=[*opening, *said], folded=[rounds], markdown=markdown,
    told=[*(e for e in summary if e.is_reference or e.mode == e.baseline), worth.moved(best, value - best.mean)],
  )  # fmt: skip


def _panel_row(line: Row) -> list[str]:
  steps = f"{line['steps']:,}" if "steps" in line else ""
  return [str(line["method"]), steps, str(line.get("frozen", "")), str(line.get("left out", ""))]


def _same_line(row: Row, entry: "Entry") -> bool:
  return (row["method"], row["mode"]) == (entry.method, entry.mode)


def _curve(contest: Contest, winner: Entrant | None, mode: str, clock: Clock) -> list[Row]:
  """The rows of what was chosen and of training from scratch with smaller numbers of labels, if there is time."""
  (most,) = next(iter(contest.labelled.subsets.values()))
  fewest = 2 * contest.dataset.task.fewest
  counts = sorted({round(share * most) for share in SHARES if round(share * most) >= fewest})
  if not counts or not clock.decided("curve", lambda: clock.left > 0):
    return []
  FLAGS["labels"].value = [*map(str, counts), "all"]
  labelled = table.draw(contest.dataset, [mode])
  FLAGS["labels"].value = ["all"]  # as the command says
  smaller = {seed: {n: sizes[n] for n in counts} for seed, sizes in labelled.subsets.items()}
  fewer = contest._replace(labelled=labelled._replace(subsets=smaller))
  cli.say(f"the curve of labels: {', '.join(map(str, counts))}")
  return [*rows_of(fewer, None, ["scratch"]), *rows_of(fewer, winner, [mode])]


def _unflattered(contest: Contest, rows: Sequence[Row], summary: "Sequence[Entry]", best: "Entry") -> float:
  """The score of what is chosen, without the luck of having been chosen; of other tasks than classes as it is."""
  from sslx.report import worth

  judges = contest.labelled.judges
  if best.score.name != "accuracy" or judges is None or "right" not in rows[0]:
    return best.mean
  kind = best.reads == "pretrained"
  rivals = [entry for entry in summary if (entry.reads == "pretrained") == kind and entry.mode != "majority"]
  lines = [[row for row in rows if _same_line(row, entry)] for entry in rivals]
  return worth.unflattered(np.stack([worth.right_answers(line, judges) for line in lines]))


def _flattery(best: "Entry", value: float, lines: int) -> str:
  from sslx.report import statistics

  mean = statistics.quantity(best.score, best.mean)
  if value == best.mean:
    return f"It was chosen among {lines} lines by this very score, which flatters it a little."
  return f"It was chosen among {lines} lines, which flatters its mean, {mean}: what such a choice is worth is told."


def _tested(contest: Contest, given: "Dataset", winner: Entrant | None, mode: str) -> list[str]:
  """What the test split says of the chosen line and of training from scratch, with all labels; read once, here."""
  from sslx import report
  from sslx.evaluation.bench import Labelled

  if not len(given.test):
    return []
  from sslx.report import statistics

  dataset = dataclasses.replace(contest.dataset, test=given.test)
  count = len(dataset.train)
  whole = contest._replace(dataset=dataset, labelled=Labelled({0: {count: np.arange(count)}}, None, FLAGS.subset))
  rows = [*rows_of(whole, None, ["scratch"]), *rows_of(whole, winner, [mode])]
  texts = [f"{statistics.quantity(e.score, e.mean)} {e.mode}" for e in report.summarise(rows)]
  return [f"On the {len(given.test):,} test examples, with all {count:,} labels: {', '.join(texts)}."]
