"""The three tables of the experiment: the notebook to the letter, its errors one by one, and both sides tuned alike."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.rotnet_mnist import PUBLISHED, notebook
from experiments.shared import cli, methods, pages, pictures, runs, table
from experiments.shared.cli import FLAGS
from experiments.shared.pictures import Answers
from experiments.shared.table import Measured, Row, Timings
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn, report
  from sslx.evaluation.bench import Bench, Case
  from sslx.evaluation.recipe import Recipe

NOTE = (
  "Test accuracy in percent; brackets: the 95% interval of so many test images (Wilson). Published, on one set of 300 "
  "images: frozen {frozen:.2f}, scratch {scratch:.2f}."
)
ERRORS_NOTE = (
  "Test accuracy in percent on all test images, mean ± standard deviation over seeds; the difference is to the same "
  "mode without any error, paired by seed. Late labels do not touch scratch."
)
TUNED_NOTE = (
  "Test accuracy in percent on all test images, mean ± standard deviation over seeds; each has a pretraining run and a "
  "labelled subset of its own. The difference is paired by seed."
)

WORDS = {"level": "within the noise", "unclaimed": "too few seeds for a claim", "better": "better", "worse": "worse"}


class Shared(NamedTuple):
  """What all sections share."""

  directory: Path
  parts: notebook.Portions
  timings: Timings
  pretrained: "dict[tuple[notebook.Condition, int], Pretrained]"
  """For each condition and seed."""


class Pretrained(NamedTuple):
  """The encoder of a condition and seed."""

  job: runs.Job
  represent: "nn.Representation"


class Section(NamedTuple):
  """What one section adds to the report."""

  rows: list[Row]
  """Those of results.jsonl, with the condition as their method."""
  table: "report.Table"
  sentences: list[str]
  answers: "Mapping[Case, Answers]"
  """Of its first condition."""


def pretrain(shared: Shared, condition: notebook.Condition, seed: int) -> Pretrained:
  """The run of a condition and seed, and its encoder. Resumes."""
  if (condition, seed) in shared.pretrained:
    return shared.pretrained[condition, seed]
  config = cli.config(
    notebook.METHOD, encoder=condition.encoder, seed=seed, schedule="constant", shuffle=condition.shuffle,
    variant=notebook.LATE if condition.late else None,
  )  # fmt: skip
  pretext = notebook.late(condition.encoder) if condition.late else None
  job = runs.setup(config, shared.parts.unlabelled, pretext)
  title = next(name for name, known in notebook.CONDITIONS.items() if known == condition)
  cli.say(f"pretraining {title}, seed {seed}")
  represent, seconds = runs.pretrain(job)
  shared.timings["pretraining"] = shared.timings.get("pretraining", 0) + seconds
  shared.pretrained[condition, seed] = Pretrained(job, represent)
  return shared.pretrained[condition, seed]


def of_seed(
  shared: Shared, condition: notebook.Condition, recipe: "Recipe | None", features: str, seed: int
) -> "tuple[table.Line, Bench]":
  """A pretrained encoder of a condition and seed, to be compared on the images that it was not trained on."""
  from sslx import nn
  from sslx.evaluation.bench import Labelled

  job, represent = pretrain(shared, condition, seed)
  nn.check_reading(features, represent.encoder.block_names)
  line = table.Line("rotnet_mnist", shared.directory, notebook.METHOD, condition.encoder, job.config.to_json())
  represent = represent._replace(reading=features)
  return line, table.bench(shared.parts.rest, Labelled({}, None), represent, recipe, seed)


def as_published(shared: Shared, title: str, condition: notebook.Condition, modes: Sequence[str]) -> Measured:
  """The rows of a condition with the notebook's labels and training, one for each mode and seed.

  A mode whose loss is not finite is left out, and said.
  """
  from sslx.evaluation.bench import Labelled

  recipe = notebook.letter_recipe(condition.shuffle, 2.0 if FLAGS.smoke else 50.0)
  task, y, n = shared.parts.rest.task, shared.parts.rest.test.targets(), shared.parts.tested
  rows = np.arange(shared.parts.labelled)
  labelled = Labelled({seed: {len(rows): rows} for seed in range(FLAGS.seeds)}, None)

  def sets(outputs: np.ndarray) -> Row:
    right = task.decide(outputs) == y
    return {"test_sets": {"first": int(right[:n].sum()), "second": int(right[n : 2 * n].sum()), "of": n}}

  made, answers = [], {}
  encoder_of = partial(of_seed, shared, condition, recipe, FLAGS.features or "flatten")
  for mode in modes:
    cli.say(f"{title}: {mode}")
    try:
      measured = table.run_pairs(encoder_of, labelled, (mode,), shared.timings, sets)
    except UserError as error:
      if "not finite" not in str(error):
        raise
      cli.say(f"{title}, {mode}: left out, {error}")
      continue
    made += measured.rows
    answers |= measured.answers
  return Measured(made, answers)


def letter(shared: Shared) -> Section:
  """The notebook as it ran: a line a seed."""
  made = as_published(shared, notebook.AS_IT_RAN, notebook.ALL, notebook.LETTER_MODES)
  rows, answers = made.rows, made.answers
  of = shared.parts.tested
  lines = []
  for seed in dict.fromkeys(row["subset_seed"] for row in rows):
    cells = [str(seed)]
    for mode in ("frozen", "scratch"):
      row = next((r for r in rows if (r["subset_seed"], r["mode"]) == (seed, mode)), None)
      if row is None:
        cells += ["", "", ""]
        continue
      cells += [_with_interval(row["test_sets"][name], of) for name in ("first", "second")]
      cells.append(f"{100 * row['test_accuracy']:.1f}")
    lines.append(cells)
  whats = (f"first {of}", f"second {of}", "all")
  headers = ["seed", *(f"{mode}, {what}" for mode in ("frozen", "scratch") for what in whats)]
  from sslx import report

  note = NOTE.format(**{name: 100 * value for name, value in PUBLISHED.items()})
  table = report.Table("To the letter", report.Cells(headers, lines), note)
  titled = [{**row, "method": notebook.AS_IT_RAN, "encoder": notebook.ENCODER} for row in rows]
  return Section(titled, table, letter_sentences(titled, len(shared.parts.rest.test)), answers)


def _with_interval(right: int, of: int) -> str:
  from sslx import report

  low, high = report.binomial_interval(right, of)
  return f"{100 * right / of:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def letter_sentences(rows: Sequence[Row], tested: int) -> list[str]:
  """What 300 images can tell of the published difference; what its rerun and ours say, on all test images."""
  from sslx import report

  of, published = notebook.TESTED, PUBLISHED
  shares = {mode: _with_interval(round(of * value), of) for mode, value in published.items()}
  apart = report.binomial_interval(round(of * published["frozen"]), of)[0] > published["scratch"]
  sentences = [
    f"Published, on {of} test images: frozen {shares['frozen']}, scratch {shares['scratch']}: "
    f"{'the first interval is above the second figure' if apart else 'so few images cannot tell them apart'}."
  ]
  ours = {(row["mode"], row["subset_seed"]): row["test_accuracy"] for row in rows}
  seeds = [seed for mode, seed in ours if mode == "frozen" and ("scratch", seed) in ours]
  for who, accuracies in (
    ("The notebook run again", list(zip(notebook.RERUN["frozen"], notebook.RERUN["scratch"], strict=True))),
    ("Ours", [(ours["frozen", seed], ours["scratch", seed]) for seed in seeds]),
  ):
    if len(accuracies) > 1:
      images = 10_000 if who != "Ours" else tested
      differences, means = [a - b for a, b in accuracies], np.mean(accuracies, 0)
      text, low, high = report.gain(differences, means=means, test_examples=images)
      what = WORDS[report.outcome(report.RIGHT_ANSWERS, low, high, len(differences))]
      sentences.append(
        f"{who}, on all {images:,} test images, over {len(accuracies)} seeds: frozen over scratch {text}: {what}."
      )
  return sentences


def errors(shared: Shared) -> Section:
  """Each error alone, and all of them, against none."""
  from sslx import report

  rows: list[Row] = []
  answers: Mapping[Case, Answers] = {}
  for title, condition in notebook.CONDITIONS.items():
    same = condition == notebook.CONDITIONS["labels late"]  # but for frozen: labels of turns are no part of the others
    measured = as_published(shared, title, condition, ("frozen",) if same else notebook.LETTER_MODES)
    answers = answers or measured.answers
    titled = [{**row, "encoder": notebook.ENCODER} for row in measured.rows]
    if same:
      titled += [row for row in rows if row["method"] == notebook.MENDED and row["mode"] != "frozen"]
    rows += [{**row, "method": title} for row in titled]
  swapped = [
    {**row, "method": row["mode"], "mode": row["method"]} for row in rows if row["mode"] in ("frozen", "scratch")
  ]
  summary = report.summarise(swapped, notebook.MENDED)
  summary.sort(key=lambda entry: entry.method)  # frozen, then scratch
  table = report.results_table(summary)._replace(title="Its errors, one by one", note=ERRORS_NOTE)
  return Section(rows, table, error_sentences(summary), answers)


def error_sentences(summary: "Sequence[report.Entry]") -> list[str]:
  """What each error changes against the notebook without any: entries have the mode as method, the error as mode."""
  from sslx import report

  sentences = []
  for entry in summary:
    untouched = (entry.method, entry.mode) == ("scratch", "labels late")
    if (
      entry.mode == notebook.MENDED or untouched or entry.difference is None or entry.low is None or entry.high is None
    ):
      continue
    interval = report.interval(entry.low, entry.high)
    changes = {"level": "no measurable change", "unclaimed": WORDS["unclaimed"]}
    change = changes.get(entry.judgement, "a change")
    what = "all errors together" if entry.mode == notebook.AS_IT_RAN else entry.mode
    sentences.append(f"{what}, {entry.method}: {100 * entry.difference:+.1f} points {interval}: {change}.")
  return sentences


def tuned(shared: Shared) -> Section:
  """Both sides tuned alike, on all test images, and after which block."""
  from sslx import nn, report
  from sslx.evaluation.modes import CONTROLS, check_modes, controls
  from sslx.report import readings

  names = nn.build(notebook.ENCODER).block_names
  modes = check_modes((*FLAGS.modes, "scratch"), names)
  modes = (*controls(modes, shared.parts.rest), *modes)
  labelled = table.draw(shared.parts.rest, modes)
  rows: list[Row] = []
  answers: Mapping[Case, Answers] = {}
  for name in reversed(names):  # the last one is what all modes read
    cli.say(f"tuned, features after {name}")
    last, features = name == names[-1], f"{name}:{FLAGS.features or 'flatten'}"
    mine = modes if last else ("random", "frozen")
    mended = partial(of_seed, shared, notebook.Condition(), None, features)
    measured = table.run_pairs(mended, labelled, mine, shared.timings)
    answers = answers or measured.answers
    rows += [{**row, "method": "tuned" if last else f"tuned, {name}"} for row in measured.everything]
  summary = report.summarise(rows)
  cells = report.results_cells(summary)
  judged = [entry for entry in summary if entry.method == "tuned" and entry.mode not in CONTROLS]
  sentences = []
  for labels in dict.fromkeys(entry.labels for entry in judged):
    mine = [entry for entry in judged if entry.labels == labels]
    ranked = readings.ranking(mine, lambda entry: entry.mode, len(shared.parts.rest.test))
    sentences.append(readings.reading(f"Both sides tuned alike, {labels:,} labels", ranked))
  scratch = [row for row in rows if row["mode"] == "scratch"]  # whatever else is on the page, these are the baseline
  others = [name for name in dict.fromkeys(row["method"] for row in rows) if name != "tuned"]
  rows += [{**row, "method": name} for name in others for row in scratch]
  note = f"{TUNED_NOTE} {readings.note(summary[0].score)}"
  return Section(rows, report.Table("Both sides tuned alike", cells, note), sentences, answers)


def write(shared: Shared, counted: Mapping[str, int], sections: Sequence[Section], shown: notebook.Condition) -> None:
  """Tables, sentences, figures and report.html; shown: the condition whose pretraining is in the figures."""
  from sslx import report
  from sslx.report import figures

  folder, last = shared.directory / "figures", sections[-1]
  rows = [row for section in sections for row in section.rows]
  once = {(r["method"], r["mode"], r["labels"], r["subset_seed"]): r for r in rows}  # `as published` is in two tables
  rows = list(once.values())
  figures.save(figures.score_dots(report.summarise(last.rows)), folder / "accuracy.png")
  pictures.draw_predictions(shared.parts.rest, folder, last.answers)
  lines = [[name, f"{counted[name]:,}", f"{notebook.PARAMETERS[name]:,}"] for name in notebook.PARAMETERS]
  cells = report.Cells(["of", "ours", "published"], lines)
  parameters = report.Table("Parameters", cells, "Published: for MNIST.")
  tables = [parameters, *(section.table for section in sections)]
  sentences = [sentence for section in sections for sentence in section.sentences]
  score, theirs = shared.parts.rest.task.score, pretrain(shared, shown, 0).job.directory / "figures"
  drawn = [*pictures.drawn(folder, score), *pictures.drawn(theirs, score)]
  lead = pages.Lead(tables, [each.note for each in tables], drawn, sentences)
  title = f"A published notebook: rotation on {shared.parts.rest.name}, then {shared.parts.labelled:,} labels"
  facts, outcome = methods.budget(), pages.Outcome(rows)
  first = last.rows[0]["method"]
  pages.write_report(
    "rotnet_mnist", title, shared.directory, "", outcome, shared.timings, facts, lead=lead,
    told=lambda entry: entry.method == first,
  )  # fmt: skip
