"""Shows what a pretrained method learnt: reconstructions, filters, walks through its code, maps, neighbours, sliders.

    python -m experiments.interpret --checkpoint=runs/autoencode-mnist-conv-1a2b3c4d
    python -m experiments.interpret --checkpoint=DIR --dims=3,7 --dataset=fashion_mnist
    python -m experiments.interpret --checkpoint=DIR --compare=DIR2,DIR3      # their first-layer filters side by side

Pictures, an animated walk, sliders.html (move a unit of the code, and the decoded picture follows) and report.html, which
shows them all, go to a directory of their own below --out. Training images only: test images are read for results alone.
A method without a decoder gets whatever needs none. t-SNE needs the extra sslx[maps].
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments.shared import cli as common
from sslx.types import UserError

FLAGS = flags.FLAGS

flags.DEFINE_list("dims", [], "Units of the code to walk along, such as 3,7. Default: the four that vary most.")
flags.DEFINE_list("compare", [], "Further run directories whose first-layer filters are drawn beside this one's.")
flags.DEFINE_integer("images", 2000, "Training images that statistics, maps and neighbours are made of.")

WALKED, PER_FIGURE, STARTS, STEPS = 4, 4, 3, 11  # units by default; units a figure; images; steps of a strip
SLIDERS, SLIDER_STARTS = 32, 6
CODE_BYTES = 1 << 28  # of codes held at once: fewer images where they are large

Figure = tuple[str, str, Path]  # title, caption, file


class Seen(NamedTuple):
  """A pretrained method and what it makes of the sampled images."""

  run: common.Restored
  class_names: tuple[str, ...]
  images: np.ndarray  # u8 [N,H,W,C], in random order
  labels: np.ndarray | None
  codes: np.ndarray  # f32 [N,D] or [N,h,w,D]
  features: np.ndarray  # f32 [N,F]
  stats: Any  # sslx.interpret.Statistics
  dims: list[int]  # the units to walk along
  decode: Callable[[np.ndarray], np.ndarray] | None  # codes -> images in [0, 1]
  directory: Path


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import interpret
  from sslx.report import pages

  common.positive("images")
  given = common.given_checkpoint()
  run = common.restore_pretext(given)
  others = [_compared(Path(folder)) for folder in FLAGS.compare]
  config = run.meta["config"]
  dataset = common.checkpoint_dataset(run.meta)
  images, labels = _sample(dataset, min(FLAGS.images, _room(run)))
  identity = {
    "experiment": "interpret", "pretraining": config, "dataset": dataset.name, "step": run.meta["step"],
    "images": len(images), "dims": FLAGS.dims, "compare": [meta["config"] for _, meta in others], "seed": FLAGS.seed,
    "features": FLAGS.features, "smoke": FLAGS.smoke,
  }  # fmt: skip
  name = f"interpret-{config['method']}-{dataset.name}-{config['encoder']}"
  common.say(f"codes of {len(images):,} training images")
  codes, features, decode = _codes(run, images)
  stats = interpret.statistics(interpret.amplitudes(codes), codes.ndim == 4)
  units = len(stats.std)
  dims = interpret.check_dims(FLAGS.dims, units) or interpret.widest(stats, WALKED)
  directory = common.open_directory(Path(FLAGS.out), identity, name, FLAGS.fresh)
  seen = Seen(run, dataset.class_names, images, labels, codes, features, stats, dims, decode, directory)

  shown, links, left_out = [], [], []
  if decode:
    shown += [*_reconstructions(seen), *_walks(seen)]
    layers, output = _exported(seen)
    links.append(_sliders(seen, layers, output))
  else:
    layers = None
    left_out.append(
      f"{config['method']} has no decoder: reconstructions, walks through the code and the page of sliders are left out."
    )
  shown += [*_filters(seen, layers, others), _statistics(seen), *_neighbours(seen)]
  maps = _maps(seen)
  shown.append(maps[0])
  left_out += maps[1:]
  facts = {
    "Code": f"{units:,} units" if codes.ndim == 2 else f"{units:,} maps of {codes.shape[1]}x{codes.shape[2]}",
    "Dead units": f"{int(stats.dead.sum()):,} of {units:,}: the same in every image",
    "Active units in an image": f"{100 * stats.population.mean():.1f}% on average",
    "Lifetime sparsity": f"{stats.sparsity.mean():.2f} on average (0: all images alike, 1: one image only)",
    "Images": f"{len(images):,} training images of {dataset.name}",
    "Hyper-parameters": ", ".join(f"{n}={_setting(v)}" for n, v in config["hp"].items()) or "none",
  }
  page = pages.write_gallery(
    directory / "report.html",
    f"What {config['method']} learnt on {config['dataset']}",
    f"{config['encoder']} · {config['epochs']:g} epochs · seed {config['seed']}",
    common.command("interpret"),
    facts,
    links,
    shown,
    left_out,
  )
  for sentence in left_out:
    print(sentence)
  print(f"Code: {facts['Code']}. Dead units: {facts['Dead units']}.")
  print(f"Report: {page}")


def _setting(value: Any) -> str:
  """As one writes it behind --hp."""
  if isinstance(value, (list, tuple)):
    return "-".join(map(str, value))
  return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _compared(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """The encoder and meta of a run of --compare."""
  from sslx.training import checkpoint

  try:
    return checkpoint.restore_encoder(folder)
  except UserError as error:
    raise UserError(str(error).replace("--checkpoint=", "--compare=")) from error


def _sample(dataset: Any, count: int) -> tuple[np.ndarray, np.ndarray | None]:
  """Training images in random order, and their labels."""
  rows = np.random.default_rng(FLAGS.seed).permutation(len(dataset.train))[:count]
  labels = dataset.train.labels
  return np.asarray(dataset.train.images[rows]), None if labels is None else labels[rows]


def _last_block(run: common.Restored) -> Callable:
  """Raw images -> the code: the output of the encoder's last block."""
  from sslx.ops.image import to_float

  from sslx import nn
  from sslx.pretext.families.common import last

  def code(image: Any) -> Any:
    outputs = nn.apply(run.encoder, run.params["encoder"], run.state["encoder"], to_float(image))[0]
    return last({name: outputs[name] for name in run.encoder.block_names})

  return code


def _room(run: common.Restored) -> int:
  """How many images' codes fit into CODE_BYTES."""
  import jax

  image = jax.ShapeDtypeStruct((1, *run.meta["image_shape"]), np.uint8)
  return max(1, CODE_BYTES // (4 * jax.eval_shape(_last_block(run), image).size))


def _codes(run: common.Restored, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, Callable | None]:
  """(codes, features, decode) of the sampled images."""
  import jax
  from sslx.ops.image import to_float

  from sslx import nn
  from sslx.compile import jit
  from sslx.evaluation import probe
  from sslx.nn.features import parse

  spec = FLAGS.features if FLAGS["features"].present else run.meta["features"]
  parse(spec, run.encoder.block_names)
  codes = probe.extract(jit(_last_block(run)), images)
  features = codes.reshape(len(codes), -1)
  if spec != "flatten":
    tree = run.params["encoder"], run.state["encoder"]
    features = probe.extract(jit(lambda image: nn.encode(run.encoder, spec, *tree, to_float(image))), images)
  if not run.pretext.decode:
    return codes, features, None

  @jit
  def decode(code: Any) -> Any:
    with jax.default_matmul_precision("highest"):  # the browser's numbers are compared with these
      return run.pretext.decode(run.params, run.state, code, tuple(run.meta["image_shape"]))

  return codes, features, lambda some: probe.extract(decode, some, 64)


def _starts(seen: Seen, count: int) -> np.ndarray:
  """Rows of start images: of different classes as far as there are such."""
  labels = np.zeros(len(seen.images)) if seen.labels is None else seen.labels
  first = np.sort(np.unique(labels, return_index=True)[1])
  rest = np.setdiff1d(np.arange(len(labels)), first)
  return np.concatenate([first, rest])[:count]


def _save(seen: Seen, figure: Any, name: str, title: str, caption: str) -> Figure:
  from sslx.report import figures

  common.say(f"figure: {title}")
  return title, caption, figures.save(figure, seen.directory / "figures" / f"{name}.png")


def _reconstructions(seen: Seen) -> Iterator[Figure]:
  import jax

  from sslx.report import figures
  from sslx.training import run as pretraining

  assert seen.decode
  few = seen.images[:500] / np.float32(255)
  decoded = seen.decode(seen.codes[:500])
  error = float(np.square(few - decoded).mean())
  rows = {
    "original": few[:10],
    "reconstruction": decoded[:10],
    "original ": few[10:20],
    "reconstruction ": decoded[10:20],
  }
  rows = {title: row for title, row in rows.items() if len(row)}
  caption = (
    f"Training images and what the decoder makes of their codes, nothing corrupted or switched off. "
    f"Mean squared error per pixel over {len(few)} images: {error:.4f}."
  )
  yield _save(seen, figures.picture_rows(rows), "reconstructions", "Originals and reconstructions", caption)
  run = seen.run
  if run.pretext.show:
    batch = {"image": seen.images[:10]}
    pictures = pretraining.pictures(run.pretext, run.params, run.state, jax.random.key(FLAGS.seed), batch)
    if pictures.keys() - {"original", "reconstruction"}:  # else it is the figure above
      caption = (
        "Training images on the way through the method, as it sees them while it learns, and what it makes of them."
      )
      yield _save(seen, figures.picture_rows(pictures), "pretext", "What the method sees and makes", caption)


def _walks(seen: Seen) -> Iterator[Figure]:
  from sslx import interpret
  from sslx.interpret import figures as figures_code

  assert seen.decode
  rows = _starts(seen, STARTS)
  places, spatial = interpret.places(seen.codes), seen.codes.ndim == 4
  originals = seen.images[rows] / np.float32(255)
  for page in range(0, len(seen.dims), PER_FIGURE):
    groups = []
    for unit in seen.dims[page : page + PER_FIGURE]:
      values = np.linspace(seen.stats.low[unit], seen.stats.high[unit], STEPS)
      walks = interpret.sweep(seen.decode, seen.codes[rows], unit, values, places[unit])
      title = f"{'map' if spatial else 'unit'} {unit}: standard deviation {seen.stats.std[unit]:.2f}"
      groups.append((title, originals, walks, _ticks(values)))
    how = (
      "a map of the code is scaled so that its strongest value becomes the number below (a silent one is set at the place "
      "where it is strongest on average)"
      if spatial
      else "a unit of the code is set to the number below"
    )
    name = "walks" if len(seen.dims) <= PER_FIGURE else f"walks_{page // PER_FIGURE + 1}"
    ends = "from silence" if spatial else "from the 1st"
    caption = f"Each row starts from one image: {how}, {ends} to the 99th percentile over the images, and decoded; all else stays."
    yield _save(seen, figures_code.strips(groups), name, "Walking along single units", caption)
  pairs = _starts(seen, 2 * STARTS)
  a, b = pairs[::2][: len(pairs) // 2], pairs[1::2]
  lines = [interpret.between(seen.codes[i], seen.codes[j], STEPS) for i, j in zip(a, b, strict=True)]
  if lines:
    walks = [
      np.concatenate([seen.decode(line), seen.images[[j]] / np.float32(255)]) for line, j in zip(lines, b, strict=True)
    ]
    ticks = [*(f"{100 * k / (STEPS - 1):.0f}%" for k in range(STEPS)), "end"]
    figure = figures_code.strips([("", seen.images[a] / np.float32(255), np.stack(walks), ticks)])
    caption = "The straight line between the codes of two images, decoded; the images themselves at the ends."
    yield _save(seen, figure, "interpolation", "From one image to another", caption)
  common.say("figure: animated walk")
  path = seen.directory / "figures" / "walk.gif"
  codes = interpret.tour(seen.codes[pairs], 14)
  caption = f"Through the codes of {len(pairs)} images and back, along straight lines."
  yield "A walk", caption, figures_code.save_gif(seen.decode(codes), path)


def _ticks(values: np.ndarray) -> list[str]:
  """With as many decimals as tell neighbours apart, the same for all."""
  step = float(np.ptp(values)) / len(values)
  decimals = max(0, 1 - int(np.floor(np.log10(step)))) if step > 0 else 2
  return [f"{v:.{min(decimals, 4)}f}" for v in values]


def _exported(seen: Seen) -> tuple[list | None, str]:
  """(the decoder as plain layers, its output activation); (None, "") where they do not say what `decode` says."""
  from sslx.interpret import sliders as decoder_page

  assert seen.decode
  names, shape = seen.run.encoder.block_names, seen.run.meta["image_shape"]
  layers = decoder_page.export(seen.run.params, names, seen.codes.shape[1:], shape)
  output = decoder_page.faithful(layers, seen.decode, seen.codes[:4]) if layers else None
  return (layers, output) if output else (None, "")


def _sliders(seen: Seen, layers: list | None, output: str) -> tuple[str, str, str]:
  from sslx import interpret
  from sslx.interpret import sliders as decoder_page

  assert seen.decode
  common.say("page of sliders")
  config, rows = seen.run.meta["config"], _starts(seen, SLIDER_STARTS)
  asked = seen.dims if FLAGS.dims else []
  units = [*asked, *(d for d in interpret.widest(seen.stats, SLIDERS) if d not in asked)][:SLIDERS]
  how = decoder_page.write_page(
    seen.directory / "sliders.html",
    f"The code of {config['method']} on {config['dataset']}",
    f"{config['encoder']}. Choose a start image, then move a unit: the picture is what the decoder makes of the code.",
    seen.decode,
    layers,
    output,
    seen.images[rows],
    seen.codes[rows],
    units,
    seen.stats,
    interpret.places(seen.codes),
  )
  return "sliders.html", "Sliders for the code", how


def _filters(seen: Seen, layers: list | None, others: list) -> Iterator[Figure]:
  from sslx import interpret
  from sslx.interpret import figures as figures_code
  from sslx.interpret import sliders as decoder_page

  first, shape = seen.run.encoder.block_names[0], seen.run.meta["image_shape"]
  own = interpret.first_filters(seen.run.params["encoder"], first, shape)
  colours = "Grey is 0." if own.shape[-1] == 3 else "Red is above 0, white is 0, blue below."
  scale = f"Each is scaled by its own largest weight. {colours}"

  def ordered(all_of_them: np.ndarray, most: int) -> np.ndarray:
    return all_of_them[interpret.strongest(all_of_them)[:most]]

  def text(shown: int, count: int) -> str:
    return f"{'All' if shown == count else f'The {shown} of largest norm of'} {count:,}, largest norm first. {scale}"

  most = figures_code.MOST
  caption = f"Weights of the encoder's first layer. {text(min(most, len(own)), len(own))}"
  figure = figures_code.filters({"": ordered(own, most)})
  yield _save(seen, figure, "filters", "First-layer filters", caption)
  rows = decoder_page.unit_images(layers) if layers else None
  if rows is not None:
    order = interpret.strongest(rows)[:most]
    caption = f"What each unit of the code adds to the image. {text(len(order), len(rows))}"
    figure = figures_code.filters({"": rows[order]})
    yield _save(seen, figure, "decoder_units", "The single-layer decoder's rows", caption)
  if others:
    configs = [seen.run.meta["config"], *(meta["config"] for _, meta in others)]
    folders = [Path(folder).name for folder in (FLAGS.checkpoint, *FLAGS.compare)]
    labels = interpret.differences(configs)
    groups = {}
    trees = [seen.run.params["encoder"], *(tree["params"] for tree, _ in others)]
    for tree, config, label, folder in zip(trees, configs, labels, folders, strict=True):
      block = next(iter(_block_names(config["encoder"])))
      label = label if label and label not in groups else f"{label} ({folder})".strip()
      groups[label] = ordered(interpret.first_filters(tree, block, config["image_shape"]), 64)
    caption = (
      f"First-layer filters of several runs, under what they differ in: up to 64 each, largest norm first. {scale}"
    )
    yield _save(seen, figures_code.filters(groups, 8, 64), "compare", "Filters of several runs", caption)


def _block_names(encoder: str) -> tuple[str, ...]:
  from sslx import nn

  return nn.build(encoder).block_names


def _statistics(seen: Seen) -> Figure:
  from sslx.interpret import figures as figures_code

  stats, values = seen.stats, seen.codes.ravel()
  values = values[:: max(1, len(values) // 500_000)]
  what = "unit" if seen.codes.ndim == 2 else "map (by its strongest value in an image)"
  caption = (
    f"Over {len(seen.codes):,} training images. A {what} counts as active beyond a tenth of the code's scale "
    f"({stats.scale:.3g}, the 99th percentile of the magnitudes that are not 0). Dead: the same in every image; "
    f"{int(stats.dead.sum()):,} of {len(stats.dead):,} are."
  )
  return _save(seen, figures_code.code_statistics(stats, values), "code", "How the code is used", caption)


def _maps(seen: Seen) -> list:
  """[figure], and a sentence after it where t-SNE is missing."""
  from sslx import interpret
  from sslx.interpret import figures as figures_code

  points, share = interpret.pca(seen.features)
  maps, missing = {f"PCA: {100 * share[:2].sum():.0f}% of the variance": points}, []
  common.say("t-SNE")
  embedded = interpret.tsne(seen.features, FLAGS.seed) if len(seen.features) > 3 else None
  if embedded is not None:
    maps["t-SNE: neighbourhoods, not distances"] = embedded
  else:
    missing = ["t-SNE is left out: it needs scikit-learn (pip install 'sslx[maps]') and at least 4 images."]
  figure = figures_code.class_maps(maps, seen.labels, seen.class_names)
  caption = f"Features of {len(points):,} training images in the plane, coloured by class, which the method never saw."
  if seen.run.meta["method"] == "supervised":
    caption = caption.replace(", which the method never saw", "")
  return [_save(seen, figure, "maps", "Maps of the features", caption), *missing]


def _neighbours(seen: Seen) -> Iterator[Figure]:
  from sslx import interpret
  from sslx.interpret import figures as figures_code

  rows = _starts(seen, 10)
  count = min(9, len(seen.images) - 1)
  if not count:
    return
  found = interpret.neighbours(seen.features, rows, count)
  same, names, share = np.ones(found.shape, bool), [], ""
  if seen.labels is not None:
    same = seen.labels[found] == seen.labels[rows][:, None]
    names = [[seen.class_names[k] for k in seen.labels[[row, *near]]] for row, near in zip(rows, found, strict=True)]
    share = f" Of these, {100 * same.mean():.0f}% are of the query's class; the others are named in bold red."
  figure = figures_code.neighbours(seen.images[rows], seen.images[found], same, names)
  caption = f"The most alike of {len(seen.images):,} training images by the cosine of their features.{share}"
  yield _save(seen, figure, "neighbours", "Nearest neighbours", caption)


if __name__ == "__main__":
  raise SystemExit(common.run(main, __name__))
