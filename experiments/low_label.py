"""What is a pretrained encoder worth when few labels exist?

    python -m experiments.low_label --method=denoise --labels=100 --seeds=5

Pretrains the encoder with --method on all training images without their labels, draws stratified, nested, seeded label
subsets, and compares --modes on them (sslx/compare.py says what each is): same architecture, same number of parameters,
same subsets. With 100 labels no 101st is read: hyper-parameters are chosen by cross-validation inside the subset, or
fixed once for all modes. The test split is read once, at the end, when every classifier is trained.

The table is printed, and results.jsonl, figures/ and report.html are in the run directory.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments import common

FLAGS = flags.FLAGS

NAME = "low_label"
PICTURED = 40  # test images in the figure of sample predictions


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import compare, report

  recipe, heldout = common.recipe(), common.heldout()
  run = common.setup(FLAGS.features)
  dataset = run.dataset
  modes = (*compare.CONTROLS, *(m for m in compare.check_modes(FLAGS.modes, run.encoder.block_names) if m not in compare.CONTROLS))
  labelled = compare.draw(dataset.train.labels, common.label_counts(dataset, heldout), FLAGS.seeds, heldout)
  timings = {"start-up": time.monotonic() - common.START}
  pretrained, timings["pretraining"] = common.pretrain(run)

  results = run.directory / "results.jsonl"
  settings = {"features": run.features, "validation": FLAGS.validation, **recipe._asdict()}
  settings = json.loads(json.dumps(settings))  # as a row read back has it
  counts = list(next(iter(labelled.subsets.values())))
  tasks = [compare.Task(m, n, s) for n in counts for m in modes for s in labelled.subsets]
  known = {_task(r) for r in report.read_rows(results) if r["experiment"] == NAME and r["settings"] == settings}
  todo = [t for t in tasks if t not in known]

  begin = time.monotonic()
  trained = compare.train_classifiers(
    todo, dataset, labelled, run.encoder, run.features, pretrained, recipe, FLAGS.seed, common.say
  )
  timings["training on the labels"] = time.monotonic() - begin

  begin = time.monotonic()
  predicted = compare.logits(trained, run.encoder, run.features, dataset.test)
  provenance = report.provenance()
  for task in todo:
    classifier, seconds = trained[task]
    accuracy = float((predicted[task].argmax(1) == dataset.test.labels).mean())
    row = {
      "experiment": NAME, "method": FLAGS.method, "dataset": dataset.name, "encoder": FLAGS.encoder,
      "features": run.features, "mode": task.mode, "labels": task.labels, "subset_seed": task.subset_seed,
      "test_accuracy": accuracy, "parameters_total": classifier.total, "parameters_trainable": classifier.trainable,
      "seconds": seconds, "chosen": classifier.head.chosen, "seed": FLAGS.seed, "settings": settings,
      "pretraining": run.config, "flags": common.given_flags(), **provenance,
    }  # fmt: skip
    report.append_row(results, row)
  timings["testing"] = time.monotonic() - begin

  wanted = set(tasks)
  rows = [r for r in report.read_rows(results) if r["experiment"] == NAME and r["settings"] == settings and _task(r) in wanted]
  rows.sort(key=lambda r: tasks.index(_task(r)))
  write_report(run, rows, predicted, timings)


def write_report(run: common.Run, rows: Sequence[dict[str, Any]], predicted: dict, timings: dict[str, float]) -> None:
  """Prints the tables, draws the figures, writes report.html."""
  from rich.console import Console

  from sslx import figures, report

  begin = time.monotonic()
  folder, summary = run.directory / "figures", report.summarise(rows)
  save = lambda fig, name: figures.save(fig, folder / f"{name}.png")  # noqa: E731
  save(figures.accuracy_bars(summary), "accuracy")
  if len({r["labels"] for r in rows}) > 1 and (curve := figures.label_curve(summary)):
    save(curve, "labels")
  for task, logits in predicted.items():
    if task.subset_seed == 0 and task.mode in ("scratch", "frozen") and task.labels == min(r["labels"] for r in rows):
      _draw_predictions(run, task.mode, logits, save)
  timings["report"] = time.monotonic() - begin

  console = Console(soft_wrap=True)
  console.print(report.results_table(summary))
  console.print(report.parameters_table(summary))
  for line in report.verdict(summary):
    print(line)
  print("Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items()) + ".")
  page = report.write_html(
    run.directory,
    f"{FLAGS.method} on {run.dataset.name}: what is it worth with few labels?",
    common.command(NAME),
    {**run.config, **rows[0]["settings"]},
    rows,
    summary,
    [(title, caption, folder / f"{name}.png") for name, title, caption in FIGURES if (folder / f"{name}.png").exists()],
    timings,
  )
  print(f"Report: {page or run.directory / 'report.html'}")


FIGURES = (
  ("accuracy", "Test accuracy", "Mean over label subsets; whiskers are one standard deviation, points the subsets."),
  ("labels", "Accuracy against number of labels", "Mean and standard deviation over label subsets."),
  ("loss", "Pretraining loss", "Mean over 50 steps."),
  ("pretext", "What the method sees and makes", "The first training images, after pretraining."),
  ("predictions_scratch", "Sample predictions, scratch", "The first test images, first label subset."),
  ("predictions_frozen", "Sample predictions, frozen", "The first test images, first label subset."),
  ("confusion_scratch", "Confusion, scratch", "First label subset, whole test split."),
  ("confusion_frozen", "Confusion, frozen", "First label subset, whole test split."),
)


def _draw_predictions(run: common.Run, mode: str, logits: np.ndarray, save: Any) -> None:
  from sslx import figures

  test, names = run.dataset.test, run.dataset.class_names
  confidence = np.exp(logits - logits.max(1, keepdims=True))
  confidence = (confidence / confidence.sum(1, keepdims=True)).max(1)
  first = np.arange(min(PICTURED, len(test)))
  guess = logits.argmax(1)
  save(figures.predictions(test.images[first], test.labels[first], guess[first], names, confidence[first]), f"predictions_{mode}")
  save(figures.confusion(test.labels, guess, names), f"confusion_{mode}")


def _task(row: dict[str, Any]) -> Any:
  from sslx.compare import Task

  return Task(row["mode"], row["labels"], row["subset_seed"])


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
