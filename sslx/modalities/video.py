"""Video: clips u8 [B,T,H,W,3], the T frames of each at even distances."""

from typing import Any

import numpy as np

from sslx.modalities import image
from sslx.types import Modality

STRIP, GAP = 6, 2  # of a picture: frames at most, and pixels between two


def picture(x: np.ndarray, meaning: Any) -> np.ndarray:
  """Clips [B,T,H,W,C] -> images [B,H,W',C]: a strip of frames from the first to the last, from left to right; frames
  [B,H,W,C] are their own pictures.
  """
  x = image.picture(x, meaning)
  if x.ndim == 4:
    return x
  shown = np.unique(np.linspace(0, x.shape[1] - 1, STRIP).round().astype(int))
  between = np.ones((*x.shape[:1], x.shape[2], GAP, x.shape[4]), x.dtype)
  parts = [part for t in shown for part in (between, x[:, t])]
  return np.concatenate(parts[1:], axis=2)


VIDEO = Modality("video", image.prepare, picture, image.accept)
