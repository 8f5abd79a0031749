"""SimCLR in the idiom of lightly 1.6: a torch Dataset of PIL images, transforms per sample, DataLoader, NTXentLoss.

`epoch(images, batch, workers)` yields the loss after every step. Encoder and projector are those of sslx's benchmark.
"""

from collections.abc import Iterator

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from lightly.transforms.multi_view_transform import MultiViewTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.augment_torch import BLURRED, DEGREES, ELASTIC, GAINS, SHEAR_DEGREES, SHIFTS, SIGMA, ZOOMS
from benchmarks.torch_models import conv


class GreyImages(Dataset):
  """PIL images of u8 [N,H,W,1], as torchvision.datasets.MNIST gives them; items are the transform's views."""

  def __init__(self, images: np.ndarray, transform: MultiViewTransform):
    self.images = images
    self.transform = transform

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, index: int) -> list[Tensor]:
    return self.transform(Image.fromarray(self.images[index, :, :, 0]))


def digit_transform() -> MultiViewTransform:
  """Two views of a grey PIL image, f32 [1,H,W] each: the changes of sslx's SimCLR."""
  view = v2.Compose(
    [
      v2.RandomAffine(DEGREES, SHIFTS, ZOOMS, SHEAR_DEGREES, interpolation=v2.InterpolationMode.BILINEAR),
      v2.ColorJitter(brightness=GAINS, contrast=GAINS),
      v2.ToImage(),
      v2.ToDtype(torch.float32, scale=True),
      v2.ElasticTransform(alpha=2 * ELASTIC / BLURRED, sigma=SIGMA),
    ]
  )  # affine and jitter before the tensor: Pillow is faster on one small image
  return MultiViewTransform([view, view])


class SimCLR(nn.Module):
  """The encoder of conv_groupnorm without its classifier, and the projector 2048-256-128."""

  def __init__(self):
    super().__init__()
    self.backbone = nn.Sequential(*conv((32, 64, 128), norm=True), nn.Flatten())
    self.projection_head = SimCLRProjectionHead(2048, 256, 128, batch_norm=False)

  def forward(self, x: Tensor) -> Tensor:
    """[B,1,28,28] -> [B,128]."""
    return self.projection_head(self.backbone(x))


def epoch(images: np.ndarray, batch: int, workers: int) -> Iterator[float]:
  """One epoch of u8 [N,28,28,1] from fresh weights: the loss after each of the N // batch steps.

  The first step pays for the start of the workers.
  """
  torch.manual_seed(0)
  dataset = GreyImages(images, digit_transform())
  loader = DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True, num_workers=workers)
  model = SimCLR()
  criterion = NTXentLoss(temperature=0.2)
  optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
  for one, two in loader:
    loss = criterion(model(one), model(two))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    yield loss.item()
