"""What experiments.active measures and shows: simulated rounds of labelling, kept row by row."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.shared import cli, runs
from experiments.shared.cli import FLAGS
from experiments.shared.publish import SMOKE
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn, report
  from sslx.data import Dataset

Row = dict[str, Any]
CURVE = "Mean over --seeds, with a band of one standard deviation either side."


def pretrained() -> "tuple[nn.Representation, Dataset, Row]":
  """(the frozen encoder, the data set, what the rows say of its pretraining), by --checkpoint or the other flags.

  Raises:
    UserError: a data set of another task than classification, or without labels for training or for tests.
  """
  if FLAGS.checkpoint is not None:
    from sslx.training.run import representation

    tree, meta = runs.read_checkpoint(runs.given_checkpoint())
    dataset = _of_classes(runs.checkpoint_dataset(meta))
    return representation(meta, tree, runs.reading(dataset.task, meta)), dataset, runs.config_of(meta)
  config = cli.config()
  runs.encoder_of(config)
  dataset = _of_classes(runs.load_dataset(FLAGS.dataset))
  job = runs.setup(config, dataset)
  represent, _ = runs.pretrain(job)
  return represent, dataset, job.config.to_json()


def _of_classes(dataset: "Dataset") -> "Dataset":
  if dataset.task.name != "classification":
    raise UserError(f"--dataset={dataset.name}: its task is {dataset.task.name}; labelling is measured on classes.")
  if dataset.train.y is None or not len(dataset.test):
    raise UserError(f"--dataset={dataset.name}: to measure labelling, training and test examples must have labels.")
  return dataset


def sizes(dataset: "Dataset") -> list[int]:
  """The numbers of --labels. Raises UserError for one that no number of rounds gives, or that is too large."""
  cli.positive("round")
  counts = cli.label_counts(dataset, 0)
  for count in counts:
    if count % FLAGS.round or not 0 < count <= len(dataset.train):
      raise UserError(
        f"--labels={','.join(FLAGS.labels)}: {count} is no multiple of --round={FLAGS.round} up to the "
        f"{len(dataset.train):,} training examples."
      )
  return counts


def strategies() -> list[str]:
  """Those of --strategies, and `random`, which the others are compared with. Raises UserError for an unknown one."""
  from sslx import options
  from sslx.evaluation.rounds import STRATEGIES

  names = list(dict.fromkeys([*(FLAGS.strategies or STRATEGIES), "random"]))
  for name in names:
    if name not in STRATEGIES:
      near = options.nearest(name, STRATEGIES)
      raise UserError(f"--strategies={','.join(names)}: {name!r} is none of {', '.join(STRATEGIES)}.{near}")
  return names


def measure(
  represent: "nn.Representation", dataset: "Dataset", names: Sequence[str], sizes: Sequence[int], path: Path, made: Row
) -> list[Row]:
  """A row for each strategy, seed and number of labels, kept in `path`: what is there already is not measured again.

  Test examples are told apart only by heads that are trained already, and nothing is chosen by what they score.
  """
  from sslx.evaluation import rounds
  from sslx.evaluation.features import extract
  from sslx.report import records

  def key(row: Row) -> tuple:
    return row["mode"], row["subset_seed"], row["labels"]

  kept = {key(row): row for row in records.read_rows(path)}
  jobs = [(name, seed) for name in names for seed in range(FLAGS.seeds)]
  missing = [job for job in jobs if any((*job, size) not in kept for size in sizes)]
  if missing:
    cli.say(f"features of {len(dataset.train):,} training and {len(dataset.test):,} test examples")
    features, tests = extract(represent, dataset.train.x), extract(represent, dataset.test.x)
    pool = rounds.pool_of(features, dataset.train.targets(), dataset.task)
    for number, (name, seed) in enumerate(missing, 1):
      cli.say(f"{number} of {len(missing)}: {name}, seed {seed}")
      begin = time.monotonic()
      for rows, head in rounds.simulate(name, pool, max(sizes) // FLAGS.round, FLAGS.round, seed):
        if len(rows) not in sizes or (name, seed, len(rows)) in kept:
          continue
        scores = dataset.task.scores(head.outputs(tests), dataset.test.targets())
        row = {
          "mode": name, "subset_seed": seed, "labels": len(rows), "score": dataset.task.score._asdict(),
          **{f"test_{score}": float(value) for score, value in scores.items()}, "test_examples": len(dataset.test),
          "reads": "pretrained", "trains_encoder": False, "chosen": head.chosen, "seconds": time.monotonic() - begin,
          "classes": np.bincount(pool.y[rows], minlength=dataset.task.outputs).tolist(), "rows": rows.tolist(), **made,
        }  # fmt: skip
        kept[key(row)] = row
        records.append_row(path, row)
  return [kept[name, seed, size] for size in sizes for name, seed in jobs]


def tables(summary: "Sequence[report.Entry]", rows: Sequence[Row]) -> "list[report.Table]":
  """The accuracies of the strategies, and how their labels spread over the classes."""
  from sslx import report

  cells = report.results_table(summary)
  lines = []
  for entry in summary:
    counts = np.array([r["classes"] for r in rows if (r["mode"], r["labels"]) == (entry.mode, entry.labels)])
    seen, most = (counts > 0).sum(1), counts.max(1) / counts.sum(1)
    lines.append([f"{entry.labels:,}", entry.mode, f"{seen.mean():.1f}", f"{100 * most.mean():.0f}"])
  note = "Means over the seeds; classes are not known before an example is labelled."
  headers = ["labels", "mode", "classes with labels", "share of the largest %"]
  return [cells, report.Table("Classes of the labels", report.Cells(headers, lines), note)]


def headline(summary: "Sequence[report.Entry]") -> str:
  """What each strategy reaches with each number of labels; of a smoke run, that it says nothing."""
  if FLAGS.smoke:
    return SMOKE
  from sslx.report.statistics import quantity

  parts = []
  for labels in dict.fromkeys(entry.labels for entry in summary):
    entries = [entry for entry in summary if entry.labels == labels]
    marks = {"better": " (better than random)", "worse": " (worse)"}
    named = [f"{each.mode} {quantity(each.score, each.mean)}{marks.get(each.judgement, '')}" for each in entries]
    parts.append(f"{labels} labels: {', '.join(named)}.")
  return " ".join(parts)
