"""Masks beside their images: of which class each pixel is, and of which one a predictor says it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sslx.report import tables
from sslx.report.figures import style
from sslx.report.figures.pictures import picture_rows, shown

if TYPE_CHECKING:
  from matplotlib.figure import Figure

IGNORED = 255  # a pixel of no class, which counts nowhere
STRIPES = (0.55, 0.8)  # greys of the pixels that are ignored
DIM = 0.4  # how bright an image is where its mask is background
LONGEST = 24  # letters of a class in the legend
FEW = 6  # classes of a legend that need not be wide
# After the seven of Okabe & Ito, each is of all vivid and not too dark colours the one farthest (in CIELAB) from those
# before it and from dark greys, for plain, red-blind and green-blind eyes (Machado et al., 2009).
PALETTE = (
  *style.COLOURS, "#5A3CFF", "#00FF96", "#4BFFFF", "#7878FF", "#875A2D", "#96A55A", "#96D2B4", "#96F069", "#D200B4",
  "#4BC3D2", "#5AA5FF", "#4BD287", "#875A87",
)  # fmt: skip


def masks(images: Any, truth: Any | None, predicted: Any, names: Sequence[str]) -> Figure:
  """Rows of images, of their true masks and of the predicted ones. A class has a colour, the background shows the image
  darker, and ignored pixels are striped. The title tells how well the foreground is found in these samples.

  Args:
    images: f32[B, H, W, C] or f32[B, H, W] in [0, 1]; the first 10 are drawn, fewer of wide ones.
    truth: u8[B, H, W], the class of each pixel: 0 is background, 255 is ignored. None: not known.
    predicted: u8[B, H', W'], cut to [H, W].
    names: one per class, the background first.
  """
  images = np.asarray(images, np.float32)[: shown(images)]
  if not len(images):
    return picture_rows({})
  count, (height, width) = len(images), images.shape[1:3]
  said = np.asarray(predicted)[:count, :height, :width]
  true = None if truth is None else np.asarray(truth)[:count]
  rows = {
    "image": images,
    **({} if true is None else {"truth": paint(images, true)}),
    "prediction": paint(images, said),
  }
  fig = picture_rows(rows)
  fig.set_figheight(fig.get_figheight() + 0.55)  # for the title, and around the legend
  title = f"masks of {style.samples(count)}"
  if true is not None:
    share = foreground_iou(true, said)
    title = f"foreground IoU: {'no foreground' if share is None else f'{100 * share:.1f}%'} in {style.samples(count)}"
  style.heading(fig, title)
  _legend(fig, np.unique(said if true is None else np.concatenate([true.ravel(), said.ravel()])), names)
  return fig


def foreground_iou(truth: np.ndarray, predicted: np.ndarray) -> float | None:
  """How well the foreground is found, whatever its classes: pixels that are foreground in both masks u8[B, H, W], over
  those that are in either; pixels ignored in the truth do not count. None where there is no foreground.
  """
  known = truth != IGNORED
  true, said = known & (truth > 0), known & (predicted > 0)
  either = (true | said).sum()
  return float((true & said).sum() / either) if either else None


def colour_of(kind: int) -> str:
  """Of a class from 1."""
  return PALETTE[(kind - 1) % len(PALETTE)]


def paint(images: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """f32[B, H, W, 3]: masks u8[B, H, W] in colours; of the background the image is seen, darker."""
  from matplotlib.colors import to_rgb

  grey = images if images.ndim == 3 else images[..., :3].mean(-1)
  painted = np.repeat(DIM * np.nan_to_num(grey)[..., None], 3, -1).astype(np.float32)
  for kind in np.unique(mask):
    if kind not in (0, IGNORED):
      painted[mask == kind] = to_rgb(colour_of(int(kind)))
  row, column = np.indices(mask.shape[1:])
  stripes = np.where((row + column) // 2 % 2, *STRIPES)
  return np.where((mask == IGNORED)[..., None], stripes[None, ..., None], painted).astype(np.float32)


def _legend(fig: Figure, kinds: np.ndarray, names: Sequence[str]) -> None:
  """Of the classes that occur, in their order."""
  from matplotlib.patches import Patch

  handles = {}
  for kind in map(int, kinds):
    if 0 < kind < IGNORED:
      name = style.escape(tables.shortened(names[kind], LONGEST))
      handles[name if name not in handles else f"{name} ({kind})"] = Patch(facecolor=colour_of(kind))
  if IGNORED in kinds:
    low, high = (str(grey) for grey in STRIPES)
    handles["ignored"] = Patch(facecolor=high, edgecolor=low, hatch="/////", linewidth=0)
  if handles:
    if len(handles) > FEW:
      fig.set_figwidth(max(fig.get_figwidth(), 6.0))  # or the legend would be a tower
    style.legend(fig, handles, spare=0)
