"""Black dots in reconstructions: how many there are, and which units and pixels are dead.

A part of `experiments.one_percent`, whose original saw them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, runs
from experiments.shared.cli import FLAGS
from experiments.shared.methods import SAMPLE
from experiments.shared.table import Timings

if TYPE_CHECKING:
  from experiments.one_percent.protocol import Part
  from sslx import report
  from sslx.training.run import Run
  from sslx.types import Array, Params, State

METHOD = "autoencode"
PAIRS = (("sigmoid", "bce"), ("sigmoid", "mse"), ("linear", "mse"))
NOTE = (
  "Of training images. A dot: a pixel below 0.1 whose four neighbours, and the image itself there, are above 0.5. Dead "
  "pixels: 0 for every image though bright in one of them, of all such pixels; 'before training' is where a relu "
  "output would have no gradient from the start. Dead units: of each layer, those that change over the images by less "
  "than a hundredth of what the liveliest one does."
)
RELU = "relu instead"


class Model(NamedTuple):
  """A trained autoencoder to look for dots in."""

  title: str
  directory: Path
  job: runs.Job | None
  """None for a checkpoint."""


class Dots(NamedTuple):
  """What `look` tells."""

  cells: "report.Cells"
  pictures: dict[str, np.ndarray]
  """By title; empty where no method has a decoder."""
  sentences: list[str]


def trained(part: "Part", timings: Timings) -> list[Model]:
  """Seed 0 of the method; of an autoencoder, with each pair of output and loss, and with sigmoid units."""
  kinds = [(FLAGS.method, FLAGS.encoder, FLAGS.hp)]
  if FLAGS.method == METHOD:
    rest = [text for text in FLAGS.hp if text.partition("=")[0] not in ("output", "loss")]
    kinds = [(f"{out} + {loss}", FLAGS.encoder, [*rest, f"output={out}", f"loss={loss}"]) for out, loss in PAIRS]
    name, colon, settings = FLAGS.encoder.partition(":")
    if name == "mlp" and "activation=" not in settings:
      spec = f"{name}:{settings}{',' if colon else ''}activation=sigmoid"
      kinds.append(("sigmoid + bce, sigmoid units", spec, [*rest, "output=sigmoid", "loss=bce"]))
  models = []
  for title, encoder, hp in kinds:
    cli.say(f"black dots: {title}")
    job = runs.setup(cli.config(hp=hp, encoder=encoder, seed=0, **part.settings), part.dataset)
    timings["pretraining"] = timings.get("pretraining", 0) + runs.pretrain(job)[1]
    models.append(Model(title, job.directory, job))
  return models


def look(models: Sequence[Model], part: "Part") -> Dots:
  """Counts black dots, dead pixels and dead units of each model on training images, and what a relu output would do."""
  from sslx import interpret, report
  from sslx.evaluation.features import extract
  from sslx.training.run import restore, start

  train = part.dataset.train
  images = np.asarray(train.x[np.arange(min(SAMPLE, len(train)))])
  original = np.asarray(images, np.float32) / 255
  pictures, lines, rates, sentences = {"original": original[:10]}, [], {}, []

  def line(title: str, made: np.ndarray, before: np.ndarray | None, units: str) -> None:
    dots = interpret.black_dots(original, made)
    dead, lit = interpret.dead_pixels(original, made)
    rates[title] = 1000 * dots.sum() / len(dots)
    at_start = "" if before is None else f"{100 * before.sum() / max(1, lit.sum()):.1f}%"
    error = np.square(made - original).mean()
    with_dots = 100 * dots.any(axis=(1, 2, 3)).mean()
    share = f"{100 * dead.sum() / max(1, lit.sum()):.1f}%"
    lines.append([title, f"{error:.4f}", f"{rates[title]:.1f}", f"{with_dots:.1f}%", share, at_start, units])
    pictures[title] = made[:10]

  for title, directory, job in models:
    run = restore(directory)
    if run.pretext.decode is None:
      continue
    make = reconstructor(run)
    made = extract(make(run.params, run.state), images)
    counts = []
    for name in [n for n in run.meta.build_encoder().block_names if n != "code"]:
      activity = extract(run.representation(f"{name}:flatten"), images)
      counts.append(f"{interpret.dead_units(activity)}/{activity.shape[1]}")
    before = None
    if job is not None and job.config.hp.get("output") == "linear":
      fresh = start(job.plan)
      before, lit = interpret.dead_pixels(original, extract(make(fresh.params, fresh.state), images))
    line(title, made, before, ", ".join(counts))
    if before is not None:
      line(f"{title}, {RELU}", np.where(before, 0, made), before, "")
      black = rates[f"{title}, {RELU}"]
      sentences.append(
        f"A relu output: {int(before.sum())} of the {int(lit.sum())} pixels that some image needs would have no "
        f"gradient before the first step; left black, they make {black:.1f} dots in 1,000 images, where the same "
        f"network with a linear output has {rates[title]:.1f}."
      )
  if rates:
    most = max((name for name in rates if not name.endswith(RELU)), key=rates.__getitem__)
    seen = f"at most {rates[most]:.1f} in 1,000 images ({most})" if rates[most] else "none"
    sentences.insert(0, f"Black dots in our reconstructions of {len(original):,} training images: {seen}.")
  headers = ["output + loss", "squared error", "dots per 1,000", "images with dots", "dead pixels"]
  cells = report.Cells([*headers, "before training", "dead units, by layer"], lines)
  return Dots(cells, pictures if lines else {}, sentences)


def reconstructor(run: "Run") -> "Callable[[Params, State], Callable[[Array], Array]]":
  """(params, state) -> (raw images -> what the decoder makes of their codes), in evaluation mode."""
  from sslx import nn
  from sslx.compile import jit
  from sslx.modalities import MODALITIES

  pretext, encoder, prepare = run.pretext, run.meta.build_encoder(), MODALITIES[run.meta.modality].prepare
  assert pretext.decode
  decode = pretext.decode

  def of(params: "Params", state: "State") -> "Callable[[Array], Array]":
    def make(raw: Any) -> Any:
      x = prepare(raw)
      code = nn.apply(encoder, params["encoder"], state["encoder"], x)[0][encoder.block_names[-1]]
      return decode(params, state, code, x.shape[1:])

    return jit(make)

  return of
