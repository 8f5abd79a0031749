"""Black dots in reconstructions: how many there are, and which units and pixels are dead.

A part of `experiments.one_percent`, whose original saw them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

METHOD = "autoencode"
PAIRS = (("sigmoid", "bce"), ("sigmoid", "mse"), ("linear", "mse"))
NOTE = (
  "Of training images. A dot: a pixel below 0.1 whose four neighbours, and the image itself there, are above 0.5. Dead "
  "pixels: 0 for every image though bright in one of them, of all such pixels; 'before training' is where a relu output "
  "would have no gradient from the start. Dead units: of each layer, those that change over the images by less than a "
  "hundredth of what the liveliest one does."
)
RELU = "relu instead"


class Model(NamedTuple):
  """A trained autoencoder to look for dots in."""

  title: str
  directory: Path
  run: common.Run | None  # None for a checkpoint


def trained(part: Any, training: Mapping[str, Any], timings: dict[str, float]) -> list[Model]:
  """Seed 0 of the method; of an autoencoder, with each pair of output and loss, and with sigmoid units."""
  kinds = [(FLAGS.method, FLAGS.encoder, FLAGS.hp)]
  if FLAGS.method == METHOD:
    own = [text for text in FLAGS.hp if text.partition("=")[0] not in ("output", "loss")]
    kinds = [(f"{out} + {loss}", FLAGS.encoder, [*own, f"output={out}", f"loss={loss}"]) for out, loss in PAIRS]
    name, colon, settings = FLAGS.encoder.partition(":")
    if name == "mlp" and "activation=" not in settings:
      spec = f"{name}:{settings}{',' if colon else ''}activation=sigmoid"
      kinds.append(("sigmoid + bce, sigmoid units", spec, [*own, "output=sigmoid", "loss=bce"]))
  models = []
  for title, encoder, hp in kinds:
    cli.say(f"black dots: {title}")
    run = runs.setup(FLAGS.features, hp=hp, dataset=part, encoder=encoder, seed=0, **training)
    timings["pretraining"] = timings.get("pretraining", 0) + runs.pretrain(run)[1]
    models.append(Model(title, run.directory, run))
  return models


class Dots(NamedTuple):
  """What `look` finds."""

  cells: tuple[list[str], list[list[str]]]
  pictures: dict[str, np.ndarray]  # by title; empty where no method has a decoder
  sentences: list[str]


def look(models: Sequence[Model], part: Any) -> Dots:
  """Counts black dots, dead pixels and dead units of each model on training images, and what a relu output would do."""
  from sslx.ops.image import to_float

  from sslx import interpret, nn
  from sslx.compile import jit
  from sslx.evaluation import probe
  from sslx.training import run as pretraining

  images = np.asarray(part.train.images[np.arange(min(methods.SAMPLE, len(part.train)))])
  original = np.asarray(images, np.float32) / 255
  pictures, lines, rates, sentences = {"original": original[:10]}, [], {}, []

  def line(title: str, made: np.ndarray, before: np.ndarray | None, units: str) -> None:
    dots = interpret.black_dots(original, made)
    dead, lit = interpret.dead_pixels(original, made)
    rates[title] = 1000 * dots.sum() / len(dots)
    start = "" if before is None else f"{100 * before.sum() / max(1, lit.sum()):.1f}%"
    error = np.square(made - original).mean()
    with_dots = 100 * dots.any(axis=(1, 2, 3)).mean()
    share = f"{100 * dead.sum() / max(1, lit.sum()):.1f}%"
    lines.append([title, f"{error:.4f}", f"{rates[title]:.1f}", f"{with_dots:.1f}%", share, start, units])
    pictures[title] = made[:10]

  for title, directory, run in models:
    restored = common.restore_pretext(directory)
    pretext, encoder = restored.pretext, restored.encoder
    if pretext.decode is None:
      continue

    def reconstructor(params: Any, state: Any, pretext: Any = pretext, encoder: Any = encoder) -> Callable:
      def make(image: Any) -> Any:
        code = nn.apply(encoder, params["encoder"], state["encoder"], to_float(image))[0][encoder.block_names[-1]]
        return pretext.decode(params, state, code, image.shape[1:])

      return jit(make)

    params, state = restored.params, restored.state
    made = probe.extract(reconstructor(params, state), images)
    counts = []
    for name in [n for n in encoder.block_names if n != "code"]:
      read = jit(lambda x, name=name, encoder=encoder, params=params, state=state: nn.encode(
        encoder, f"{name}:flatten", params["encoder"], state["encoder"], to_float(x)))  # fmt: skip
      activity = probe.extract(read, images)
      counts.append(f"{interpret.dead_units(activity)}/{activity.shape[1]}")
    before = None
    if run is not None and run.config["hp"].get("output") == "linear":
      ts = pretraining.start(pretraining.plan(run.pretext, run.config, run.features, part))
      at_start = probe.extract(reconstructor(ts.params, ts.state), images)
      before, lit = interpret.dead_pixels(original, at_start)
    line(title, made, before, ", ".join(counts))
    if before is not None:
      line(f"{title}, {RELU}", np.where(before, 0, made), before, "")
      sentences.append(
        f"A relu output: {int(before.sum())} of the {int(lit.sum())} pixels that some image needs would have no gradient "
        f"before the first step; left black, they make {rates[f'{title}, {RELU}']:.1f} dots in 1,000 images, where the "
        f"same network with a linear output has {rates[title]:.1f}."
      )
  if rates:
    own = [name for name in rates if not name.endswith(RELU)]
    most = max(own, key=rates.__getitem__)
    seen = f"at most {rates[most]:.1f} in 1,000 images ({most})" if rates[most] else "none"
    sentences.insert(0, f"Black dots in our reconstructions of {len(original):,} training images: {seen}.")
  headers = ["output + loss", "squared error", "dots per 1,000", "images with dots", "dead pixels"]
  return Dots(([*headers, "before training", "dead units, by layer"], lines), pictures if lines else {}, sentences)
