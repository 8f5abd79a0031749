"""What a code and its filters look like: statistics, walks, filters, neighbours and 2-D maps, on plain arrays.

A code is what the encoder's last block puts out: [N,D], or [N,h,w,D] of an encoder that ends in maps. Its units are its
D numbers, or its D maps. A unit's amplitude in an image is its value, or its map's value of largest magnitude.

Setting a unit to an amplitude a: a number becomes a; a map is scaled so that its largest magnitude becomes a, which keeps
where the image has it. A map that is silent in the image gets a at the one place where it is strongest on average.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sslx.types import UserError

ACTIVE = 0.1  # of the code's scale: beyond that a unit counts as active
EDGES = 1, 99  # percentiles of a unit's amplitudes that a walk goes between

Decode = Callable[[np.ndarray], np.ndarray]
"""codes [B,...] -> images f32 [B,H,W,C] in [0, 1]."""


# ---- the code --------------------------------------------------------------------------------------------------------


def amplitudes(codes: np.ndarray) -> np.ndarray:
  """f32 [N,D] or [N,h,w,D] -> f32 [N,D]: every unit's value of largest magnitude, with its sign."""
  flat = codes.reshape(len(codes), -1, codes.shape[-1])
  return np.take_along_axis(flat, np.abs(flat).argmax(1)[:, None], 1)[:, 0]


def places(codes: np.ndarray) -> np.ndarray:
  """i64 [D]: where, of the h*w places, each unit's mean magnitude over images is largest; 0 for flat codes."""
  return np.abs(codes).reshape(len(codes), -1, codes.shape[-1]).mean(0).argmax(0)


class Statistics(NamedTuple):
  """How the units of a code are used, over N images. Per unit [D] unless said otherwise."""

  std: np.ndarray
  low: np.ndarray  # where a walk begins: the 1st percentile of the amplitudes, of maps 0 where that is less
  high: np.ndarray  # where it ends: the 99th, of maps 0 where that is more
  activity: np.ndarray  # fraction of the images in which the unit is active
  sparsity: np.ndarray  # lifetime sparsity in [0, 1]; 1 for a silent unit
  dead: np.ndarray  # bool: its amplitude is the same in every image
  population: np.ndarray  # [N]: fraction of the units that are active in each image
  scale: float  # 99th percentile of the magnitudes that are not 0


def statistics(amplitude: np.ndarray, maps: bool = False) -> Statistics:
  """Of amplitudes [N,D]; `maps`: of maps, which are rarely silent, so that walks along them begin at silence.

  Active: a magnitude above a tenth of the code's scale, so that it means something for codes that are never exactly 0.
  Lifetime sparsity: (1 - mean(|r|)^2 / mean(r^2)) / (1 - 1/N), 0 where all images excite a unit alike and 1 where a
  single one does (Vinje, Gallant: Sparse Coding and Decorrelation in Primary Visual Cortex During Natural Vision, 2000).
  """
  r = np.abs(amplitude.astype(np.float64))
  scale = float(np.percentile(r[r > 0], 99)) if (r > 0).any() else 0.0
  active = r > ACTIVE * scale
  std = amplitude.std(0, dtype=np.float64)
  power = np.square(r).mean(0)
  ratio = np.divide(np.square(r.mean(0)), power, out=np.zeros_like(power), where=power > 0)
  low, high = np.percentile(amplitude, EDGES, axis=0)
  low, high = (np.minimum(low, 0), np.maximum(high, 0)) if maps else (low, high)
  sparsity = np.minimum((1 - ratio) / (1 - 1 / max(len(r), 2)), 1)
  return Statistics(std, low, high, active.mean(0), sparsity, std <= 1e-6 * scale, active.mean(1), scale)


def widest(stats: Statistics, count: int) -> list[int]:
  """The units whose amplitude varies most, most first; dead ones are left out unless there is no other."""
  order = [int(d) for d in np.argsort(-stats.std, kind="stable")]
  return [d for d in order if not stats.dead[d]][:count] or order[:1]


def check_dims(texts: Sequence[str], units: int) -> list[int]:
  """The numbers of --dims, in their order. Raises UserError for one that is no unit of the code."""
  for text in texts:
    if not text.strip().isdecimal() or int(text) >= units:
      raise UserError(
        f"--dims={','.join(texts)}: {text.strip()!r} is no unit of this code; they are numbered 0 to {units - 1}."
      )
  return list(dict.fromkeys(int(text) for text in texts))


# ---- walks -----------------------------------------------------------------------------------------------------------


def set_unit(code: np.ndarray, unit: int, values: Any, place: int) -> np.ndarray:
  """Codes [K,...]: one code [D] or [h,w,D] with `unit` set to each amplitude of `values` [K]; see the module's head."""
  values = np.asarray(values, code.dtype)
  out = np.repeat(code[None], len(values), 0)
  flat = out.reshape(len(values), -1, code.shape[-1])
  flat[:, :, unit] = values[:, None] * unit_map(code, unit, place)
  return out


def unit_map(code: np.ndarray, unit: int, place: int) -> np.ndarray:
  """[h*w]: what `unit` looks like in this code at amplitude 1."""
  values = code.reshape(-1, code.shape[-1])[:, unit]
  amplitude = values[np.abs(values).argmax()]
  if amplitude == 0:
    return np.eye(len(values), dtype=code.dtype)[place]
  return values / amplitude


def sweep(decode: Decode, codes: np.ndarray, unit: int, values: np.ndarray, place: int) -> np.ndarray:
  """Images [B,K,H,W,C]: each of the codes [B,...] with `unit` at each of `values` [K]."""
  steps = np.concatenate([set_unit(code, unit, values, place) for code in codes])
  images = decode(steps)
  return images.reshape(len(codes), len(values), *images.shape[1:])


def between(first: np.ndarray, second: np.ndarray, steps: int) -> np.ndarray:
  """Codes [steps,...] on the straight line from `first` to `second`, both included."""
  share = np.linspace(0, 1, steps, dtype=first.dtype).reshape(-1, *[1] * first.ndim)
  return (1 - share) * first + share * second


def tour(codes: np.ndarray, steps: int) -> np.ndarray:
  """Codes [B*steps,...] through all of `codes` and back to the first, `steps` from one to the next."""
  return np.concatenate([between(a, b, steps + 1)[:-1] for a, b in zip(codes, np.roll(codes, -1, 0), strict=True)])


# ---- filters ---------------------------------------------------------------------------------------------------------


def first_filters(encoder: Mapping[str, Any], first_block: str, image_shape: Sequence[int]) -> np.ndarray:
  """f32 [units,h,w,C] of an encoder's first layer: the columns of a dense kernel as images, or the convolution kernels.

  Of an encoder of two halves, those of the lightness half; of an encoder of patches, images of a patch's size.
  """
  block = encoder[first_block].get("L", encoder[first_block])
  kernel = np.asarray(next(block[name]["kernel"] for name in ("Dense_0", "Conv_0") if name in block))
  if kernel.ndim == 4:
    return np.moveaxis(kernel, -1, 0)
  side = math.isqrt(kernel.shape[0] // image_shape[2])
  shape = tuple(image_shape) if kernel.shape[0] == math.prod(image_shape) else (side, side, image_shape[2])
  return kernel.T.reshape(-1, *shape)


def strongest(filters: np.ndarray) -> np.ndarray:
  """i64 [units]: the order of falling norm."""
  return np.argsort(-np.square(filters.reshape(len(filters), -1)).sum(1), kind="stable")


def differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
  """A label for each run: the hyper-parameters in which they differ, or else the other settings; '' where none does."""
  for kind in ("hp", "settings"):
    flat = [
      dict(c["hp"]) if kind == "hp" else {n: v for n, v in c.items() if n not in ("hp", "data_crc32")} for c in configs
    ]
    names = list(dict.fromkeys(name for f in flat for name in f))
    differ = [name for name in names if len({str(f.get(name)) for f in flat}) > 1]
    if differ:
      return [", ".join(f"{name}={f[name]}" for name in differ if f.get(name) is not None) for f in flat]
  return [""] * len(configs)


# ---- what a reconstruction lacks -------------------------------------------------------------------------------------

DARK, BRIGHT = 0.1, 0.5
LIVELY = 0.01  # of the largest range among a layer's units: below that a unit counts as dead


def black_dots(images: np.ndarray, made: np.ndarray) -> np.ndarray:
  """bool [N,H,W,C]: where a reconstruction has a hole of one pixel: it is dark there, and the image is not, nor are the
  reconstruction's four neighbours. Never at an edge.

  images, made: f32 [N,H,W,C] in [0, 1].
  """
  bright, found = made > BRIGHT, np.zeros(made.shape, bool)
  around = bright[:, :-2, 1:-1] & bright[:, 2:, 1:-1] & bright[:, 1:-1, :-2] & bright[:, 1:-1, 2:]
  found[:, 1:-1, 1:-1] = around & (made < DARK)[:, 1:-1, 1:-1] & (images > BRIGHT)[:, 1:-1, 1:-1]
  return found


def dead_pixels(images: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(bool [H,W,C], bool [H,W,C]): pixels that are 0 in every reconstruction though bright in an image; all that are bright
  in an image.

  A linear output that is cut at 0 is 0 there where a relu output would be, and a relu output that is 0 for every image
  has no gradient in any.
  """
  lit = np.any(images > BRIGHT, axis=0)
  return np.logical_and(lit, np.all(made <= 0, axis=0)), np.asarray(lit)


def dead_units(activity: np.ndarray) -> int:
  """How many units of a layer, [N,D] over N images, hardly change: a relu unit that is never active, a stuck sigmoid."""
  spread = np.ptp(activity, axis=0)
  return int((spread <= LIVELY * spread.max()).sum())


# ---- features --------------------------------------------------------------------------------------------------------


def neighbours(features: np.ndarray, queries: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
  """i64 [Q,count]: rows of features [N,D] nearest to each query row by cosine, most alike first, without the query."""
  unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
  alike = unit[np.asarray(queries)] @ unit.T
  alike[np.arange(len(queries)), np.asarray(queries)] = -np.inf
  return np.argsort(-alike, axis=1, kind="stable")[:, :count]


def pca(features: np.ndarray, dimensions: int = 2) -> tuple[np.ndarray, np.ndarray]:
  """(f32 [N,dimensions], share of the variance along each): features [N,D] along their principal axes.

  The sign of an axis is chosen so that its largest coordinate is positive. Fewer axes where N or D is smaller.
  """
  centred = features - features.mean(0, dtype=np.float64).astype(features.dtype)
  wide = centred.shape[1] > centred.shape[0]  # then the products of samples are the smaller matrix
  gram = (centred @ centred.T if wide else centred.T @ centred).astype(np.float64)
  values, vectors = np.linalg.eigh(gram)
  values, vectors = values[::-1][:dimensions].clip(0), vectors[:, ::-1][:, :dimensions]
  points = vectors * np.sqrt(values) if wide else centred @ vectors
  points = points * np.sign(points[np.abs(points).argmax(0), np.arange(points.shape[1])])
  return points.astype(np.float32), values / max(float(np.trace(gram)), 1e-30)


def tsne(features: np.ndarray, seed: int) -> np.ndarray | None:
  """f32 [N,2] by scikit-learn's t-SNE on the first 50 principal axes; None where scikit-learn is not installed.

  van der Maaten, Hinton: Visualizing Data using t-SNE, JMLR 2008; perplexity 30, less for fewer than 91 samples.
  """
  try:
    from sklearn.manifold import TSNE
  except ImportError:
    return None
  from threadpoolctl import threadpool_limits

  reduced = pca(features, 50)[0]
  scale = max(float(reduced.std()), 1e-12)  # started from them, and early exaggeration is slow at other scales
  perplexity = min(30.0, (len(features) - 1) / 3)
  with threadpool_limits(1 if len(features) < 1000 else None):  # of few samples, threads mostly wait for each other
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced / scale)
