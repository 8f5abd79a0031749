"""What the experiments that compare methods share: what is compared, pretraining it or reading it back, tables, report."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments.shared import cli as common, table as comparison
from sslx.types import UserError

FLAGS = flags.FLAGS

ENCODER, EPOCHS = "conv", 2.0  # of several methods, unless the flags say otherwise
LABELS = (100, 600, 1000)  # as far as the training split has them
MODES = ["scratch", "frozen", "last:1", "full", "knn:20"]
NONE = "none"  # the method of the reference rows
METRICS = "pretext metrics"
KNN = "heldout_knn_accuracy"
SAMPLE = 5000  # test images that reconstruction errors and activities are measured on


class Variant(NamedTuple):
  """One line of the table: a method with hyper-parameters."""

  title: str
  method: str
  hp: tuple[str, ...] = ()
  dataset: Any = None  # sslx.data.Dataset that it is pretrained on; None: the one that it is compared on
  checkpoint: Path | None = None  # where it is read from, instead of being pretrained


class Pretrained(NamedTuple):
  """What became of a variant."""

  config: dict[str, Any]  # of its pretraining, as in the rows
  encoder: dict[str, Any]  # {"params", "stats"}
  measured: dict[str, Any]  # see `measured`; empty for a checkpoint
  picture: Path  # what the method sees and makes, if there is such a file


class Outcome(NamedTuple):
  """What a comparison found."""

  rows: list[dict[str, Any]]
  lines: list[dict[str, Any]]  # of each method: title, loss, metrics ..., or why it was left out
  figures: list[tuple[str, Path]]  # title -> what the method sees and makes


class Lead(NamedTuple):
  """What a report shows of the accuracies."""

  tables: Sequence[tuple[str, Any, str]]  # (title, cells, note)
  notes: Sequence[str]  # once for all tables
  figures: Sequence[tuple[str, str, Path]]  # (title, caption, file)
  sentences: Sequence[str] = ()


def named(names: Sequence[str]) -> list[str]:
  """The methods of --methods. Raises UserError for none, or an unknown one."""
  from sslx.pretext import METHODS, check

  names = [m.strip() for m in names if m.strip()]
  if names == ["all"]:
    names = [m for m in METHODS if m != "supervised"]
  if not names:
    raise UserError("--methods=: name at least one method, or all.")
  for name in names:
    check(name)
  if FLAGS.hp and FLAGS.methods is not None:
    raise UserError("--hp: belongs to one method; use --method, or experiments.autoencoders for variants.")
  return names


def given(elsewhere: bool = True, methods: Sequence[str] | None = None) -> tuple[list[Variant], Any]:
  """(what --checkpoint, --methods or --method name, on one encoder and for as many epochs; the data set).

  Sets --encoder, --epochs and, of a checkpoint, the other flags of its pretraining to what they are, where they were
  not given. elsewhere: whether --dataset may be another than the checkpoint's. methods: what is compared where none of
  the three flags was given.

  Raises:
    UserError: an unknown method, or a flag that contradicts the checkpoint.
  """
  from sslx.training import checkpoint
  from sslx.pretext import check

  if methods and not any(FLAGS[name].present for name in ("method", "methods", "checkpoint")):
    common.default(methods=methods)
  if FLAGS.checkpoint is not None:
    if FLAGS.methods is not None:
      raise UserError("--methods: are pretrained; give either --checkpoint or --methods.")
    _, meta = checkpoint.restore_encoder(common.given_checkpoint())
    common.adopt(meta, () if elsewhere else ("dataset",))
    variant = Variant(meta["method"], meta["method"], tuple(FLAGS.hp), checkpoint=Path(FLAGS.checkpoint))
    return [variant], common.checkpoint_dataset(meta)
  names = named([FLAGS.method] if FLAGS.methods is None else FLAGS.methods)
  one = check(names[0])
  encoder, epochs = (ENCODER, EPOCHS) if len(names) > 1 else (one.encoder, one.epochs)
  common.default(encoder=encoder, epochs=epochs)
  return [Variant(name, name, tuple(FLAGS.hp)) for name in names], common.load_dataset(FLAGS.dataset)


def fitting(counts: Sequence[int], dataset: Any) -> list[str]:
  """--labels: those of `counts` that the training split has, and that hold every class; else what the flag says."""
  return [str(n) for n in counts if dataset.num_classes <= n <= len(dataset.train)] or FLAGS.labels


def defaults(dataset: Any) -> None:
  """Sets the flags that were not given to the defaults of a comparison of several methods."""
  common.default(encoder=ENCODER, epochs=EPOCHS, modes=MODES, labels=fitting(LABELS, dataset))


def budget() -> dict[str, Any]:
  """What all methods of a comparison share."""
  return {"encoder": FLAGS.encoder, "epochs": FLAGS.epochs, "seed": FLAGS.seed}


def open_directory(experiment: str, dataset: Any) -> Path:
  """The directory of a comparison: one for each data set and encoder."""
  config = {"experiment": experiment, "dataset": dataset.name, "encoder": FLAGS.encoder, "smoke": FLAGS.smoke}
  return common.open_directory(Path(FLAGS.out), config, f"{experiment}-{dataset.name}-{FLAGS.encoder}", FLAGS.fresh)


def pretrain(variant: Variant, dataset: Any, timings: dict[str, float]) -> Pretrained:
  """Pretrains a variant (on `dataset`, unless it says otherwise), goes on with it, or reads it back.

  Raises:
    UserError: the method does not fit the images or the encoder, or there is no such checkpoint.
  """
  from sslx.training import checkpoint

  if variant.checkpoint:
    encoder, meta = checkpoint.restore_encoder(variant.checkpoint)
    config = {**meta["config"], "step": meta["step"]}  # it may be of a run that was not finished
    return Pretrained(config, encoder, {}, variant.checkpoint / "figures/pretext.png")
  run = common.setup(FLAGS.features, variant.method, variant.hp, variant.dataset or dataset)
  encoder, seconds = common.pretrain(run)
  timings["pretraining"] = timings.get("pretraining", 0) + seconds
  return Pretrained(run.config, encoder, measured(run), run.directory / "figures/pretext.png")


def run_variants(
  experiment: str,
  variants: Sequence[Variant],
  dataset: Any,
  directory: Path,
  timings: dict[str, float],
  modes_at: Callable[[int], Sequence[str]] | None = None,
  heads_only: bool = False,
  pretrain: Callable[[Variant, Any, dict[str, float]], Pretrained] = pretrain,
) -> Outcome:
  """Pretrains and compares every variant; the reference rows come first. All of it resumes.

  modes_at: modes for a number of labels, None: --modes and scratch. heads_only: leaves out the modes that train the
  encoder on the labels. pretrain: in place of the function of that name.
  """
  from sslx import nn
  from sslx.evaluation.compare import check_modes, controls, head_only

  common.recipe()
  encoder = nn.build(FLAGS.encoder)
  flag = check_modes(FLAGS.modes, encoder.block_names)
  labelled = comparison.draw(dataset)
  counts = next(iter(labelled.subsets.values()))
  modes = {n: check_modes(modes_at(n) if modes_at else (*flag, "scratch"), encoder.block_names) for n in counts}
  comparison.check_neighbours(modes)
  references = {n: (*controls(asked), *(m for m in asked if m == "scratch")) for n, asked in modes.items()}
  own = {
    n: [m for m in asked if m not in references[n] and (head_only(m) or not heads_only)] for n, asked in modes.items()
  }

  def subject(title: str, config: dict[str, Any] | None, pretrained: Any) -> comparison.Subject:
    names = {"method": title, "encoder": FLAGS.encoder, "pretraining": config}
    return comparison.Subject(experiment, directory, dataset, encoder, FLAGS.features, names, FLAGS.seed, pretrained)

  rows, lines, pictures = [], [], []
  common.say("references: " + ", ".join(dict.fromkeys(mode for n in counts for mode in references[n])))
  rows += comparison.run_modes(subject(NONE, None, None), references, labelled, timings)[0]
  for variant in variants:
    common.say(f"{variant.title}")
    try:
      found = pretrain(variant, dataset, timings)
    except UserError as error:
      lines.append({"method": variant.title, "left out": str(error)})
      continue
    rows += comparison.run_modes(subject(variant.title, found.config, found.encoder), own, labelled, timings)[0]
    lines += [{"method": variant.title, **found.measured}] if found.measured else []
    pictures += [(variant.title, found.picture)] if found.picture.exists() else []
  return Outcome(rows, lines, pictures)


def measured(run: common.Run) -> dict[str, Any]:
  """Of a finished run: the last loss and metrics of its training, and what its code and decoder do.

  squared error: mean over pixels in [0, 1] of test images against their reconstruction; active: the fraction of the
  last block's outputs above 1 % of the largest, over test images.
  """
  import jax
  import jax.numpy as jnp

  from sslx import nn
  from sslx.report import records
  from sslx.compile import jit
  from sslx.ops.image import to_float

  history = records.read_rows(run.directory / "metrics.jsonl")
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
  columns = ("loss", "heldout_loss", METRICS, KNN, "squared error", "active", "images/s", "left out")
  full = [{**line, METRICS: metrics_text(line)} for line in lines]
  known = [name for name in columns if any(line.get(name, "") != "" for line in full)]
  rows = [
    [line["method"], *(f"{v:.4g}" if isinstance(v := line.get(k, ""), float) else str(v) for k in known)]
    for line in full
  ]
  return ["method", *(name.replace("heldout_", "held-out ").replace("_", " ") for name in known)], rows


def metrics_text(line: Mapping[str, Any]) -> str:
  """A method's own metrics, on held-out images where there are any: `rotation accuracy 0.954`."""
  others = ("loss", KNN, "squared error", "active", "images/s")  # with a column of their own
  own = {k: v for k, v in line.items() if isinstance(v, float) and k not in others}
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
  lead: Lead | None = None,
  label_names: Mapping[int, str] | None = None,
) -> None:
  """Tables on the terminal, in tables.md and in summary.jsonl, figures, and report.html.

  baseline: the mode that differences are taken to; note: what the tables' arrows and lines mean; lead: in place of a
  table for each number of labels and its figures; label_names: what numbers of labels are called in titles.
  """
  from rich.console import Console

  from sslx import report
  from sslx.report import pages, records

  begin = time.monotonic()
  console, folder = Console(soft_wrap=True), directory / "figures"
  rows = with_short_names(outcome.rows)
  note, summary = note or NOTE, report.summarise(rows, baseline)
  verdicts = report.against(rows, "random")
  if lead is None:
    lead = by_labels(heading, summary, verdicts, note, folder, label_names or {}, baseline)
  tables, drawn = list(lead.tables), list(lead.figures)
  if outcome.lines:
    tables.append((f"{heading}: pretraining", methods_table(outcome.lines), PRETRAINING_NOTE))
  drawn += [(f"{name}: what it sees and makes", "Training images.", path) for name, path in outcome.figures]
  timings["report"] = time.monotonic() - begin
  for name, cells, _ in tables:
    console.print(report.table(name, cells))
  sentences = [*lead.sentences, *verdicts.values()]
  for sentence in [*(f"The best, {sentence}" for sentence in report.best(summary)), *sentences]:
    print(sentence)
  shown = [f"{name}\n\n{report.markdown(report.table(name, cells))}" for name, cells, _ in tables]
  notes = [*(f"- {sentence}" for sentence in sentences), "", *lead.notes]
  notes += [PRETRAINING_NOTE] if outcome.lines else []
  records.write_rows(directory / "summary.jsonl", summary)
  records.write_text(directory / "tables.md", "\n".join([*shown, *notes]) + "\n")
  config = {**config, **rows[0]["settings"]}
  command = common.command(experiment)
  page = pages.write_html(
    directory, title, command, config, rows, summary, drawn, timings, tables=tables, lead=lead.sentences
  )
  print("Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items()) + ".")
  print(f"Report: {page}")


def by_labels(
  heading: str,
  summary: Sequence[dict[str, Any]],
  verdicts: Mapping[int, str],
  note: str,
  folder: Path,
  label_names: Mapping[int, str],
  baseline: str,
) -> Lead:
  """A table of the methods for each number of labels, their dots, and the curve of frozen encoders."""
  from sslx import report
  from sslx.report import figures

  tables = []
  for labels in sorted({entry["labels"] for entry in summary}):
    said = f"{verdicts[labels]} " if labels in verdicts else ""
    name = label_names.get(labels, f"{labels:,} labels")
    tables.append((f"{heading}, {name}", report.methods_cells(summary, labels), said + note))
  drawn = [(heading, "Test accuracy by mode; whiskers are one standard deviation.", folder / "methods.png")]
  figures.save(figures.method_dots(summary), folder / "methods.png")
  curve = figures.label_curve([e for e in summary if e["mode"] in ("frozen", baseline)])
  if curve is not None:
    drawn.append((f"{heading}: frozen encoders", "Accuracy against labels.", folder / "labels.png"))
    figures.save(curve, folder / "labels.png")
  return Lead(tables, [note], drawn)


def with_short_names(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """The rows; those of several data sets with `digits` for `npz:/data/digits.npz`, which is a column's name then."""
  full = dict.fromkeys(row["dataset"] for row in rows)
  short = {name: short_name(name) for name in full}
  if len(full) == 1 or len(set(short.values())) < len(full):
    return list(rows)
  return [{**row, "dataset": short[row["dataset"]]} for row in rows]


def short_name(dataset: str) -> str:
  """`digits` of `npz:/data/digits.npz`."""
  return Path(dataset.partition(":")[2]).stem or dataset


CURVE_NOTE = (
  "Test accuracy in percent, mean ± standard deviation over label subsets. ↑ (↓): the 95% interval of the difference to "
  "scratch, paired by subset, lies above (below) zero."
)
NOTE = f"{CURVE_NOTE} The line `no pretraining` is a random encoder, frozen, and training from scratch under `full`."
PRETRAINING_NOTE = (
  "loss: mean over the last steps of pretraining; held-out loss and pretext metrics: at its end, on training images that "
  "it did not train on; knn accuracy: of those by their labels, each by its 20 nearest others. squared error: of "
  "reconstructions of test images, per pixel in [0, 1]. "
  "active: fraction of the code's units above 1% of the largest. images/s: median while pretraining."
)
