"""Filters: what the units of an encoder's first layer look for, as images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sslx import nn


def first_filters(encoder: Mapping[str, Any], first_block: str, image_shape: Sequence[int]) -> np.ndarray:
  """f32 [units,h,w,C] of an encoder's first layer: the columns of a dense kernel as images, or the convolution kernels.

  Of an encoder of two halves, those of the lightness half; of an encoder of patches, images of a patch's size.
  """
  block = encoder[first_block].get("L", encoder[first_block])
  kernel = np.asarray(nn.only_layer(block)["kernel"])
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
