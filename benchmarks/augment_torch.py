"""SimCLR's two random views of grey digits as PyTorch users make them: per sample, with kornia, and batched by hand.

VIEWS[name]() makes `views(images u8 [B,H,W,1]) -> two f32 [B,1,H,W] in [0,1]`. Strengths are the defaults of
sslx/pretext/simclr.py where the library has that operation. A missing library is an ImportError of its own factory.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Views = Callable[[np.ndarray], tuple[Tensor, Tensor]]

DEGREES, SCALE, SHIFT, SHEAR, ELASTIC, CONTRAST = 20.0, 0.25, 0.2, 0.3, 1.0, 0.3
SHEAR_DEGREES = float(np.rad2deg(np.arctan(SHEAR)))
SHIFTS = (SHIFT / 2, SHIFT / 2)  # as fractions of the whole image
ZOOMS = (1 / (1 + SCALE), 1 + SCALE)
GAINS = (float(np.exp(-CONTRAST)), float(np.exp(CONTRAST)))

# Smooth noise: uniform in +-1 blurred with a Gaussian of SIGMA pixels has this standard deviation.
SIGMA = 4.0
BLURRED = 3**-0.5 / (2 * np.pi**0.5 * SIGMA)


def to_float(images: np.ndarray) -> Tensor:
  """u8 [B,H,W,C] -> f32 [B,C,H,W] in [0,1]."""
  return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def torchvision() -> Views:
  """Per sample with torchvision.transforms.v2, as in a torch Dataset. Contrast instead of gamma, which it lacks."""
  try:
    from torchvision.transforms import v2
  except RuntimeError as error:  # its C++ operators do not fit this torch, such as a CUDA build beside a CPU torch
    raise ImportError(f"torchvision does not fit torch {torch.__version__}: {error}") from error

  view = v2.Compose(
    [
      v2.ToImage(),
      v2.ToDtype(torch.float32, scale=True),
      v2.RandomAffine(DEGREES, SHIFTS, ZOOMS, SHEAR_DEGREES, interpolation=v2.InterpolationMode.BILINEAR),
      v2.ElasticTransform(alpha=2 * ELASTIC / BLURRED, sigma=SIGMA),
      v2.ColorJitter(brightness=GAINS, contrast=GAINS),
    ]
  )

  def views(images: np.ndarray) -> tuple[Tensor, Tensor]:
    one, two = zip(*[(view(image), view(image)) for image in images], strict=True)
    return torch.stack(one), torch.stack(two)

  return views


def kornia() -> Views:
  """Batched with kornia.augmentation."""
  import kornia.augmentation as K

  size = int(8 * SIGMA + 1)  # the blur kernel torchvision uses
  alpha = 2 * ELASTIC / BLURRED / 28  # of displacements in units of half the image
  view = K.AugmentationSequential(
    K.RandomAffine(DEGREES, SHIFTS, ZOOMS, SHEAR_DEGREES, p=1),
    K.RandomElasticTransform((size, size), (SIGMA, SIGMA), (alpha, alpha), p=1),
    K.RandomGamma(GAINS, GAINS, p=1),
    data_keys=["input"],
  )

  @torch.no_grad()
  def views(images: np.ndarray) -> tuple[Tensor, Tensor]:
    x = to_float(images)
    return view(x), view(x)

  return views


def uniform(limit: float, *shape: int) -> Tensor:
  """Uniform in +-limit."""
  return limit * (2 * torch.rand(shape) - 1)


def view_by_hand(x: Tensor) -> Tensor:
  """sslx.ops.augment.digit_view in PyTorch: f32 [B,1,H,W] -> the same shape."""
  batch, _, height, width = x.shape
  angle, slant = uniform(np.deg2rad(DEGREES), batch), uniform(SHEAR, batch)
  zoom, offset = torch.exp(uniform(np.log1p(SCALE), 2, batch)), uniform(SHIFT, 2, batch)
  cos, sin = torch.cos(angle), torch.sin(angle)
  rows = [
    torch.stack([cos * zoom[1], (sin + cos * slant) * zoom[0], offset[1]], 1),
    torch.stack([-sin * zoom[1], (cos - sin * slant) * zoom[0], offset[0]], 1),
  ]  # affine_grid's order is (x, y)
  grid = F.affine_grid(torch.stack(rows, 1), [batch, 1, height, width], align_corners=True)
  pixel = torch.tensor([2 / (width - 1), 2 / (height - 1)])
  field = F.interpolate(ELASTIC * torch.randn(batch, 2, 4, 4), (height, width), mode="bicubic", align_corners=False)
  x = F.grid_sample(x, grid + field.permute(0, 2, 3, 1) * pixel, align_corners=True)
  gamma, gain = torch.exp(uniform(CONTRAST, 2, batch, 1, 1, 1))
  return (x.clamp_min(1e-6) ** gamma * gain).clamp(0, 1) * (x > 0)


def by_hand() -> Views:
  """Batched with affine_grid and grid_sample: one resampling for the affine map and the elastic displacement."""

  @torch.no_grad()
  def views(images: np.ndarray) -> tuple[Tensor, Tensor]:
    x = to_float(images)
    return view_by_hand(x), view_by_hand(x)

  return views


VIEWS: dict[str, Callable[[], Views]] = {"torchvision": torchvision, "kornia": kornia, "by hand": by_hand}
