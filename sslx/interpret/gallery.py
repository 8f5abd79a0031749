"""The gallery of a pretrained method: every figure of what it learnt, and the pages that show them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sslx.interpret import codes, figures, filters, maps, sliders, walks
from sslx.interpret.codes import Statistics
from sslx.interpret.walks import Decode
from sslx.report.figures import picture_rows, save
from sslx.report.pages import Figure, Kind, Link, write_gallery

WALKED, PER_FIGURE, STARTS, STEPS = 4, 4, 3, 11  # units by default; units a figure; images; steps of a strip
SLIDERS, SLIDER_STARTS = 32, 6


class Seen(NamedTuple):
  """A pretrained method and what it makes of sampled training examples."""

  method: str
  dataset: str
  encoder: str
  """As text, for headings."""
  block_names: Sequence[str]
  params: Mapping[str, Any]
  """By role, of the encoder and, where there is one, of the decoder."""
  images: np.ndarray
  """f32 [N,H,W,C] in [0, 1], in random order."""
  classes: np.ndarray | None
  """i64 [N], where the data set has classes; -1 of an image that has none."""
  class_names: Sequence[str]
  shown: Mapping[str, np.ndarray]
  """{title: images}: what the method sees and makes of the first ones; empty where it shows nothing."""
  codes: np.ndarray
  """f32 [N,D] or [N,h,w,D]"""
  features: np.ndarray
  """f32 [N,F]"""
  stats: Statistics
  """Of the codes."""
  dims: Sequence[int]
  """The units to walk along that were asked for; none: those that vary most."""
  decode: Decode | None
  seed: int
  """Of the maps."""
  directory: Path
  """Where the pages and figures go."""
  say: Callable[[str], None]
  """Takes what is being done, in words."""


class Compared(NamedTuple):
  """The first-layer filters of a run, drawn beside those of others."""

  folder: str
  config: Mapping[str, Any]
  """Setting -> value; what differs between runs is their title."""
  filters: np.ndarray
  """f32 [units,h,w,C]"""


def compared(folder: str, encoder: Mapping[str, Any], first_block: str, config: Mapping[str, Any]) -> Compared:
  """Of an encoder's params and the settings of its run, as config.json has them."""
  return Compared(folder, config, filters.first_filters(encoder, first_block, config["x_shape"]))


def write(
  seen: Seen, runs: Sequence[Compared], subtitle: str, command: str, facts: Mapping[str, Any], smoke: bool = False
) -> list[str]:
  """Draws all figures, writes the page of sliders and report.html, and returns sentences on what was left out.

  runs: this one and those that it is compared with; subtitle, facts, smoke: of the page.
  """
  pictures, links, left_out, layers = [], [], [], None
  if seen.decode:
    pictures += [*reconstructions(seen), *strips(seen)]
    layers, output = exported(seen)
    links.append(slider_page(seen, layers, output))
  else:
    left_out.append(
      f"{seen.method} has no decoder: reconstructions, walks through the code and the page of sliders are left out."
    )
  pictures += [*first_layer(seen, layers, runs), code_use(seen), *neighbours(seen)]
  drawn, sentences = class_maps(seen)
  pictures.append(drawn)
  left_out += sentences
  title = f"What {seen.method} learnt on {seen.dataset}"
  facts = {**code_facts(seen), **facts}
  write_gallery(seen.directory / "report.html", title, subtitle, command, facts, links, pictures, left_out, smoke)
  return left_out


def code_facts(seen: Seen) -> dict[str, str]:
  """What the page says of the code in numbers: name -> text."""
  stats, units = seen.stats, len(seen.stats.std)
  shape = seen.codes.shape
  return {
    "Code": f"{units:,} units" if len(shape) == 2 else f"{units:,} maps of {shape[1]}x{shape[2]}",
    "Dead units": f"{int(stats.dead.sum()):,} of {units:,}: the same in every image",
    "Active units in an image": f"{100 * stats.population.mean():.1f}% on average",
    "Lifetime sparsity": f"{stats.sparsity.mean():.2f} on average (0: all images alike, 1: one image only)",
  }


def starts(seen: Seen, count: int) -> np.ndarray:
  """Rows of start images: of different classes as far as there are such."""
  classes = np.zeros(len(seen.images), np.int64) if seen.classes is None else seen.classes
  kinds, first = np.unique(classes, return_index=True)
  first = np.sort(first[kinds >= 0])
  rest = np.setdiff1d(np.arange(len(classes)), first)
  return np.concatenate([first, rest])[:count]


def _save(seen: Seen, figure: Any, name: str, title: str, caption: str, kind: Kind = "picture") -> Figure:
  seen.say(f"figure: {title}")
  return Figure(title, caption, save(figure, seen.directory / "figures" / f"{name}.png"), kind)


def reconstructions(seen: Seen) -> Iterator[Figure]:
  """Originals and what the decoder makes of their codes; then what the method sees and makes, where it differs."""
  assert seen.decode
  originals = seen.images[:500]
  decoded = seen.decode(seen.codes[:500])
  error = float(np.square(originals - decoded).mean())
  rows = {
    "original": originals[:10], "reconstruction": decoded[:10],
    "original ": originals[10:20], "reconstruction ": decoded[10:20],
  }  # fmt: skip
  rows = {title: row for title, row in rows.items() if len(row)}
  caption = (
    f"Training images and what the decoder makes of their codes, nothing corrupted or switched off. "
    f"Mean squared error per pixel over {len(originals)} images: {error:.4f}."
  )
  yield _save(seen, picture_rows(rows), "reconstructions", "Originals and reconstructions", caption)
  if seen.shown.keys() - {"original", "reconstruction"}:  # else it is the figure above
    caption = (
      "Training images on the way through the method, as it sees them while it learns, and what it makes of them."
    )
    yield _save(seen, picture_rows(seen.shown), "pretext", "What the method sees and makes", caption)


def strips(seen: Seen) -> Iterator[Figure]:
  """Walks along single units, straight lines between two images, and an animated walk."""
  assert seen.decode
  rows, spatial = starts(seen, STARTS), seen.codes.ndim == 4
  dims = list(seen.dims) or codes.widest(seen.stats, WALKED)
  how = (
    "a map of the code is scaled so that its strongest value becomes the number below (a silent one is set at the "
    "place where it is strongest on average)"
    if spatial
    else "a unit of the code is set to the number below"
  )
  ends = "from silence" if spatial else "from the 1st"
  caption = (
    f"Each row starts from one image: {how}, {ends} to the 99th percentile over the images, and decoded; all else "
    "stays."
  )
  for page in range(0, len(dims), PER_FIGURE):
    groups = [_strip(seen, unit, rows) for unit in dims[page : page + PER_FIGURE]]
    name = "walks" if len(dims) <= PER_FIGURE else f"walks_{page // PER_FIGURE + 1}"
    yield _save(seen, figures.strips(groups), name, "Walking along single units", caption)
  pairs = starts(seen, 2 * STARTS)
  a, b = pairs[::2][: len(pairs) // 2], pairs[1::2]
  if len(a):
    lines = [walks.between(seen.codes[i], seen.codes[j], STEPS) for i, j in zip(a, b, strict=True)]
    decoded = [np.concatenate([seen.decode(line), seen.images[[j]]]) for line, j in zip(lines, b, strict=True)]
    ticks = [*(f"{100 * k / (STEPS - 1):.0f}%" for k in range(STEPS)), "end"]
    figure = figures.strips([figures.Strip("", seen.images[a], np.stack(decoded), ticks)])
    caption = "The straight line between the codes of two images, decoded; the images themselves at the ends."
    yield _save(seen, figure, "interpolation", "From one image to another", caption)
  seen.say("figure: animated walk")
  frames = seen.decode(walks.tour(seen.codes[pairs], 14))
  caption = f"Through the codes of {len(pairs)} images and back, along straight lines."
  yield Figure("A walk", caption, figures.save_gif(frames, seen.directory / "figures" / "walk.gif"))


def _strip(seen: Seen, unit: int, rows: np.ndarray) -> figures.Strip:
  assert seen.decode
  values = np.linspace(seen.stats.low[unit], seen.stats.high[unit], STEPS)
  decoded = walks.sweep(seen.decode, seen.codes[rows], unit, values, codes.places(seen.codes)[unit])
  kind = "map" if seen.codes.ndim == 4 else "unit"
  title = f"{kind} {unit}: standard deviation {seen.stats.std[unit]:.2f}"
  return figures.Strip(title, seen.images[rows], decoded, _ticks(values))


def _ticks(values: np.ndarray) -> list[str]:
  """With as many decimals as tell neighbours apart, the same for all."""
  step = float(np.ptp(values)) / len(values)
  decimals = max(0, 1 - int(np.floor(np.log10(step)))) if step > 0 else 2
  return [f"{v:.{min(decimals, 4)}f}" for v in values]


def exported(seen: Seen) -> tuple[list[sliders.Layer] | None, str]:
  """(the decoder as plain layers, its output activation); (None, "") where they do not say what `decode` says."""
  assert seen.decode
  layers = sliders.export(seen.params, seen.block_names, seen.codes.shape[1:], seen.images.shape[1:])
  output = sliders.faithful(layers, seen.decode, seen.codes[:4]) if layers else None
  return (layers, output) if output else (None, "")


def slider_page(seen: Seen, layers: list[sliders.Layer] | None, output: str) -> Link:
  """Writes sliders.html."""
  assert seen.decode
  seen.say("page of sliders")
  rows = starts(seen, SLIDER_STARTS)
  units = [*seen.dims, *(d for d in codes.widest(seen.stats, SLIDERS) if d not in seen.dims)][:SLIDERS]
  how = sliders.write_page(
    seen.directory / "sliders.html",
    f"The code of {seen.method} on {seen.dataset}",
    f"{seen.encoder}. Choose a start image, then move a unit: the picture is what the decoder makes of the code.",
    seen.decode,
    layers,
    output,
    seen.images[rows],
    seen.codes[rows],
    units,
    seen.stats,
    codes.places(seen.codes),
  )
  return Link("sliders.html", "Sliders for the code", how)


def first_layer(seen: Seen, layers: list[sliders.Layer] | None, runs: Sequence[Compared]) -> Iterator[Figure]:
  """The filters of the first layer, the rows of a decoder of one layer, and the filters of several runs."""
  kernels = filters.first_filters(seen.params["encoder"], seen.block_names[0], seen.images.shape[1:])
  colours = "Grey is 0." if kernels.shape[-1] == 3 else "Red is above 0, white is 0, blue below."
  scale = f"Each is scaled by its own largest weight. {colours}"

  def ordered(group: np.ndarray, most: int = figures.MOST) -> np.ndarray:
    return group[filters.strongest(group)[:most]]

  def text(count: int) -> str:
    which = f"The {figures.MOST} of largest norm of" if count > figures.MOST else "All"
    return f"{which} {count:,}, largest norm first. {scale}"

  caption = f"Weights of the encoder's first layer. {text(len(kernels))}"
  yield _save(seen, figures.filters({"": ordered(kernels)}), "filters", "First-layer filters", caption)
  rows = sliders.unit_images(layers) if layers else None
  if rows is not None:
    caption = f"What each unit of the code adds to the image. {text(len(rows))}"
    figure = figures.filters({"": ordered(rows)})
    yield _save(seen, figure, "decoder_units", "The single-layer decoder's rows", caption)
  if len(runs) > 1:
    groups = {}
    for run, label in zip(runs, filters.differences([run.config for run in runs]), strict=True):
      title = label if label and label not in groups else f"{label} ({run.folder})".strip()
      groups[title] = ordered(run.filters, 64)
    caption = (
      f"First-layer filters of several runs, under what they differ in: up to 64 each, largest norm first. {scale}"
    )
    yield _save(seen, figures.filters(groups, 8, 64), "compare", "Filters of several runs", caption)


def code_use(seen: Seen) -> Figure:
  """How often and how selectively the units are active."""
  stats, values = seen.stats, seen.codes.ravel()
  values = values[:: max(1, len(values) // 500_000)]
  what = "unit" if seen.codes.ndim == 2 else "map (by its strongest value in an image)"
  caption = (
    f"Over {len(seen.codes):,} training images. A {what} counts as active beyond a tenth of the code's scale "
    f"({stats.scale:.3g}, the 99th percentile of the magnitudes that are not 0). Dead: the same in every image; "
    f"{int(stats.dead.sum()):,} of {len(stats.dead):,} are."
  )
  return _save(seen, figures.code_statistics(stats, values), "code", "How the code is used", caption, "plot")


def class_maps(seen: Seen) -> tuple[Figure, list[str]]:
  """The features in the plane, and a sentence where t-SNE is left out."""
  points, share = maps.pca(seen.features)
  panels, left_out = {f"PCA: {100 * share[:2].sum():.0f}% of the variance": points}, []
  seen.say("t-SNE")
  embedded = maps.tsne(seen.features, seen.seed) if len(seen.features) > 3 else None
  if embedded is not None:
    panels["t-SNE: neighbourhoods, not distances"] = embedded
  else:
    left_out = ["t-SNE is left out: it needs scikit-learn (pip install 'sslx[maps]') and at least 4 images."]
  caption = f"Features of {len(points):,} training images in the plane"
  if seen.classes is not None:
    caption += ", coloured by class" + ("" if seen.method == "supervised" else ", which the method never saw")
    caption += "; grey: without a label" if (seen.classes < 0).any() else ""
  figure = figures.class_maps(panels, seen.classes, seen.class_names)
  return _save(seen, figure, "maps", "Maps of the features", f"{caption}.", "plot"), left_out


def neighbours(seen: Seen) -> Iterator[Figure]:
  """Images and those most alike by their features."""
  rows = starts(seen, 10)
  count = min(9, len(seen.images) - 1)
  if not count:
    return
  nearest = maps.neighbours(seen.features, rows, count)
  same, names, share = np.ones(nearest.shape, bool), [], ""
  if seen.classes is not None:
    classes, called = seen.classes, [*seen.class_names, ""]  # the last is that of -1
    known = (classes[nearest] >= 0) & (classes[rows] >= 0)[:, None]
    same = (classes[nearest] == classes[rows][:, None]) | ~known
    names = [[called[int(k)] for k in classes[[row, *near]]] for row, near in zip(rows, nearest, strict=True)]
    if known.any():
      of = "these" if known.all() else "those whose class is known"
      share = f" Of {of}, {100 * same[known].mean():.0f}% are of the query's class; the others are named in bold red."
  figure = figures.neighbours(seen.images[rows], seen.images[nearest], same, names)
  caption = f"The most alike of {len(seen.images):,} training images by the cosine of their features.{share}"
  yield _save(seen, figure, "neighbours", "Nearest neighbours", caption)
