"""Any list of methods, side by side: same encoder, same number of parameters, same epochs, same label subsets.

    python -m experiments.compare --methods=denoise,rotation,simclr --labels=100,1000
    python -m experiments.compare --methods=all --dataset=fashion_mnist

Every method pretrains the same encoder (--encoder, default conv) for --epochs (default 2) with its own batch and
learning rate, then goes through --modes on the same subsets (--labels, default 100,600,1000). The rows of raw pixels,
of a random encoder and of training from scratch are made once. Stopped and started again, it goes on method by method.
A method that does not fit the images says why in the table.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments import START, common, comparison
from sslx.types import UserError

FLAGS = flags.FLAGS

flags.DEFINE_list("methods", ["all"], "What to compare; all: every method.")

ENCODER, EPOCHS = "conv", 2.0  # unless the flags say otherwise
LABELS = (100, 600, 1000)  # as far as the training split has them
MODES = ["scratch", "frozen", "last:1", "full", "knn:20"]  # the default of --modes here
NONE = "none"  # the method of the reference rows
METRICS = "pretext metrics"
SAMPLE = 5000  # test images that reconstruction errors and activities are measured on


class Variant(NamedTuple):
  """One line of the table: a method with hyper-parameters."""

  title: str
  method: str
  hp: tuple[str, ...] = ()


class Outcome(NamedTuple):
  """What a comparison found."""

  rows: list[dict[str, Any]]
  lines: list[dict[str, Any]]  # of each method: title, loss, metrics ..., or why it was left out
  figures: list[tuple[str, Path]]  # title -> what the method sees and makes


def defaults(dataset: Any) -> None:
  """Sets the flags that were not given to this experiment's defaults."""
  labels = [str(n) for n in LABELS if n <= len(dataset.train)] or FLAGS.labels
  for name, value in (("encoder", ENCODER), ("epochs", EPOCHS), ("modes", MODES), ("labels", labels)):
    if not FLAGS[name].present:
      FLAGS[name].value = value


def budget() -> dict[str, Any]:
  """What all methods of a comparison share."""
  return {"encoder": FLAGS.encoder, "epochs": FLAGS.epochs, "seed": FLAGS.seed}


def open_directory(experiment: str, dataset: Any) -> Path:
  """The directory of a comparison: one for each data set and encoder."""
  config = {"experiment": experiment, "dataset": dataset.name, "encoder": FLAGS.encoder, "smoke": FLAGS.smoke}
  return common.open_directory(Path(FLAGS.out), config, f"{experiment}-{dataset.name}-{FLAGS.encoder}", FLAGS.fresh)


def run_variants(
  experiment: str,
  variants: Sequence[Variant],
  dataset: Any,
  directory: Path,
  timings: dict[str, float],
  heads_only: bool = False,
) -> Outcome:
  """Pretrains and compares every variant; the reference rows come first. All of it resumes.

  heads_only: leaves out the modes that train the encoder on the labels.
  """
  from sslx import nn
  from sslx.compare import check_modes, controls, head_only

  common.recipe()
  encoder = nn.build(FLAGS.encoder)
  modes = check_modes(FLAGS.modes, encoder.block_names)
  labelled = comparison.draw(dataset)

  def subject(title: str, config: dict[str, Any] | None, pretrained: Any) -> comparison.Subject:
    names = {"method": title, "encoder": FLAGS.encoder, "pretraining": config}
    return comparison.Subject(experiment, directory, dataset, encoder, FLAGS.features, names, FLAGS.seed, pretrained)

  rows, lines, pictures = [], [], []
  common.say("references: raw pixels, random encoder, scratch")
  references = (*controls(modes), "scratch")
  rows += comparison.run_modes(subject(NONE, None, None), references, labelled, timings)[0]
  for variant in variants:
    common.say(f"{variant.title}")
    try:
      run = common.setup(FLAGS.features, variant.method, variant.hp, dataset)
      pretrained, seconds = common.pretrain(run)
    except UserError as error:
      lines.append({"method": variant.title, "left out": str(error)})
      continue
    timings["pretraining"] = timings.get("pretraining", 0) + seconds
    own = [m for m in modes if m not in references and (head_only(m) or not heads_only)]
    rows += comparison.run_modes(subject(variant.title, run.config, pretrained), own, labelled, timings)[0]
    lines.append({"method": variant.title, **measured(run)})
    picture = run.directory / "figures/pretext.png"
    pictures += [(variant.title, picture)] if picture.exists() else []
  return Outcome(rows, lines, pictures)


def measured(run: common.Run) -> dict[str, Any]:
  """Of a finished run: the last loss and metrics of its training, and what its code and decoder do.

  squared error: mean over pixels in [0, 1] of test images against their reconstruction; active: the fraction of the
  last block's outputs above 1 % of the largest, over test images.
  """
  import jax
  import jax.numpy as jnp

  from sslx import nn, report
  from sslx.compile import jit
  from sslx.ops.image import to_float

  history = report.read_rows(run.directory / "metrics.jsonl")
  last = {k: v for k, v in history[-1].items() if k not in ("step", "images_per_second")} if history else {}
  restored = common.restore_pretext(run.directory)
  params, state = restored.params, restored.state
  name = run.encoder.block_names[-1]

  @jit
  def look(image: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = to_float(image)
    code = nn.apply(run.encoder, params["encoder"], state["encoder"], x)[0][name]
    if run.pretext.decode is None:
      return jnp.zeros(()), jnp.abs(code)
    made = run.pretext.decode(params, state, code, image.shape[1:])
    return jnp.square(made - x).mean(), jnp.abs(code)

  few = np.arange(min(SAMPLE, len(run.dataset.test)))
  errors, codes = zip(*(look(run.dataset.test.images[i]) for i in np.array_split(few, 5)), strict=True)
  limit = 0.01 * max(float(c.max()) for c in codes)
  speeds = [row["images_per_second"] for row in history]
  last |= {"images/s": float(np.median(speeds))} if speeds else {}
  found = {"active": float(np.mean([np.mean(np.asarray(c) > limit) for c in codes]))}
  if run.pretext.decode is not None:
    found["squared error"] = float(np.mean(errors))
  return {**last, **found}


def methods_table(lines: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
  """Cells: what each method ended with while pretraining, and why one was left out."""
  columns = ("loss", "heldout_loss", METRICS, "squared error", "active", "images/s", "left out")
  full = [{**line, METRICS: metrics_text(line)} for line in lines]
  known = [name for name in columns if any(line.get(name, "") != "" for line in full)]
  rows = [
    [line["method"], *(f"{v:.4g}" if isinstance(v := line.get(k, ""), float) else str(v) for k in known)]
    for line in full
  ]
  return ["method", *(name.replace("heldout_", "held-out ") for name in known)], rows


def metrics_text(line: Mapping[str, Any]) -> str:
  """A method's own metrics, on held-out images where there are any: `rotation accuracy 0.954`."""
  own = {
    k: v for k, v in line.items() if isinstance(v, float) and k not in ("loss", "squared error", "active", "images/s")
  }
  held = {k.removeprefix("heldout_"): v for k, v in own.items() if k.startswith("heldout_")}
  return ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in (held or own).items() if k != "loss")


def write_report(
  experiment: str,
  title: str,
  directory: Path,
  heading: str,
  outcome: Outcome,
  timings: dict[str, float],
  config: dict[str, Any],
  baseline: str = "scratch",
  note: str | None = None,
) -> None:
  """Tables on the terminal and in tables.md, figures, and report.html.

  baseline: the mode that differences are taken to; note: what the tables' arrows and lines mean.
  """
  from rich.console import Console

  from sslx import figures, report

  begin = time.monotonic()
  console, tables, drawn, folder = Console(soft_wrap=True), [], [], directory / "figures"
  note, summary = note or NOTE, report.summarise(outcome.rows, baseline)
  verdicts = report.against(outcome.rows, "random")
  for labels in sorted({entry["labels"] for entry in summary}):
    said = f"{verdicts[labels]} " if labels in verdicts else ""
    tables.append((f"{heading}, {labels:,} labels", report.methods_cells(summary, labels), said + note))
  if outcome.lines:
    tables.append((f"{heading}: pretraining", methods_table(outcome.lines), PRETRAINING_NOTE))
  drawn.append((heading, "Test accuracy by mode; whiskers are one standard deviation.", folder / "methods.png"))
  figures.save(figures.method_dots(summary), folder / "methods.png")
  curve = figures.label_curve([e for e in summary if e["mode"] in ("frozen", baseline)])
  if curve is not None:
    drawn.append((f"{heading}: frozen encoders", "Accuracy against labels.", folder / "labels.png"))
    figures.save(curve, folder / "labels.png")
  drawn += [(f"{name}: what it sees and makes", "Training images.", path) for name, path in outcome.figures]
  timings["report"] = time.monotonic() - begin
  for name, cells, _ in tables:
    console.print(report.table(name, cells))
  for sentence in report.best(summary):
    print(f"The best, {sentence}")
  for sentence in verdicts.values():
    print(sentence)
  shown = [f"{name}\n\n{report.markdown(report.table(name, cells))}" for name, cells, _ in tables]
  notes = [*(f"- {sentence}" for sentence in verdicts.values()), "", note]
  notes += [PRETRAINING_NOTE] if outcome.lines else []
  common.write_text(directory / "tables.md", "\n".join([*shown, *notes]) + "\n")
  rows = outcome.rows
  config = {**config, **rows[0]["settings"]}
  page = report.write_html(
    directory, title, common.command(experiment), config, rows, summary, drawn, timings, tables=tables
  )
  print("Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items()) + ".")
  print(f"Report: {page}")


NOTE = (
  "Test accuracy in percent, mean ± standard deviation over label subsets. ↑ (↓): the 95% interval of the difference to "
  "scratch, paired by subset, lies above (below) zero. The line `no pretraining` is a random encoder, frozen, and "
  "training from scratch under `full`."
)
PRETRAINING_NOTE = (
  "loss: mean over the last steps of pretraining; held-out loss and pretext metrics: at its end, on training images that "
  "it did not train on. squared error: of reconstructions of test images, per pixel in [0, 1]. "
  "active: fraction of the code's units above 1% of the largest. images/s: median while pretraining."
)


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.pretext import METHODS, check

  names = [m.strip() for m in FLAGS.methods if m.strip()]
  if names == ["all"]:
    names = [m for m in METHODS if m != "supervised"]
  if not names:
    raise UserError("--methods=: name at least one method, or all.")
  for name in names:
    check(name)
  if FLAGS.hp:
    raise UserError("--hp: belongs to one method; use experiments.low_label, or experiments.autoencoders for variants.")
  dataset = common.load_dataset(FLAGS.dataset)
  defaults(dataset)
  directory = open_directory("compare", dataset)
  timings = {"start-up": time.monotonic() - START}
  outcome = run_variants("compare", [Variant(name, name) for name in names], dataset, directory, timings)
  title = f"Methods on {dataset.name}, with few labels"
  write_report("compare", title, directory, "Methods", outcome, timings, budget())


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
