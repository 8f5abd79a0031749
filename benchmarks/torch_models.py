"""The benchmarked models in PyTorch: eager, or compiled with torch.compile.
`step(name, batch, compiled)` is one update.

Layers, sizes, loss and optimiser are those of sslx (tests/benchmarks compares the numbers of parameters).
"""

import itertools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RoundingUp(nn.Module):
  """2x2 max-pooling that rounds odd sizes up, as sslx's conv encoder does: 28 -> 14 -> 7 -> 4."""

  def forward(self, x: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,C,ceil(H/2),ceil(W/2)]."""
    return F.max_pool2d(x, 2, ceil_mode=True)


def conv(widths: tuple[int, ...], norm: bool) -> list[nn.Module]:
  """The blocks of sslx's conv encoder for grey images."""
  layers: list[nn.Module] = []
  for before, after in zip((1, *widths), widths, strict=False):
    layers.append(nn.Conv2d(before, after, 3, padding=1, bias=not norm))
    layers += [nn.GroupNorm(8, after)] if norm else []
    layers += [nn.ReLU(), RoundingUp()]
  return layers


class Cut(nn.Module):
  """Drops surplus rows and columns."""

  def __init__(self, size: int):
    super().__init__()
    self.size = size

  def forward(self, x: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,C,size,size]."""
    return x[:, :, : self.size, : self.size]


class Residual(nn.Module):
  """A basic residual block."""

  def __init__(self, before: int, after: int, stride: int):
    super().__init__()
    self.body = nn.Sequential(
      nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
      nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
    )  # fmt: skip
    same = stride == 1 and before == after
    shortcut = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)]
    self.shortcut = nn.Identity() if same else nn.Sequential(*shortcut)

  def forward(self, x: Tensor) -> Tensor:
    """[B,before,H,W] -> [B,after,H/stride,W/stride]."""
    return F.relu(self.body(x) + self.shortcut(x))


def rotnet() -> nn.Module:
  """The notebook's encoder and a dense classifier."""
  blocks = [nn.Conv2d(1, 64, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 32, 3, padding=1), nn.ReLU()]
  return nn.Sequential(*blocks, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3 * 3 * 32, 10))


def conv_groupnorm() -> nn.Module:
  """Three conv blocks with GroupNorm, and a dense classifier."""
  return nn.Sequential(*conv((32, 64, 128), norm=True), nn.Flatten(), nn.Linear(4 * 4 * 128, 10))


def denoise_conv() -> nn.Module:
  """Three conv blocks, and three transposed convolutions back to the image."""
  up = []
  for before, after, size in ((64, 32, 7), (32, 16, 14), (16, 1, 28)):
    up += [nn.ConvTranspose2d(before, after, 3, stride=2), Cut(size), nn.ReLU()]
  return nn.Sequential(*conv((16, 32, 64), norm=False), *up[:-1])


def autoencode_mlp() -> nn.Module:
  """784-1000-500-64-500-1000-784."""
  sizes = (784, 1000, 500, 64, 500, 1000, 784)
  layers: list[nn.Module] = [nn.Flatten()]
  for i, (before, after) in enumerate(itertools.pairwise(sizes)):
    layers += [nn.Linear(before, after)] + ([nn.ReLU()] if i not in (2, 5) else [])
  return nn.Sequential(*layers, nn.Unflatten(1, (1, 28, 28)))


def resnet18() -> nn.Module:
  """ResNet-18 with the CIFAR stem, and a dense classifier."""
  layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
  for i in range(4):
    width = 64 * 2**i
    layers += [Residual(width if i == 0 else width // 2, width, 1 if i == 0 else 2), Residual(width, width, 1)]
  return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


MODELS: dict[str, Callable[[], nn.Module]] = {
  "rotnet": rotnet,
  "conv_groupnorm": conv_groupnorm,
  "denoise_conv": denoise_conv,
  "autoencode_mlp": autoencode_mlp,
  "resnet18": resnet18,
}


def salt_pepper(x: Tensor) -> Tensor:
  """Half of the pixels become 0 or 1, by a fair coin."""
  return torch.where(torch.rand_like(x) < 0.5, (torch.rand_like(x) < 0.5).float(), x)


def step(name: str, images: np.ndarray, labels: np.ndarray, compiled: bool) -> Callable[[], float]:
  """A function that makes one update on the batch and returns the loss: forward, backward, AdamW."""
  torch.manual_seed(0)
  model = MODELS[name]()
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
  x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
  y = torch.from_numpy(labels).long()

  def loss_of(x: Tensor, y: Tensor) -> Tensor:
    image = x.float() / 255
    if name == "denoise_conv":
      return F.binary_cross_entropy_with_logits(model(salt_pepper(image)), image)
    if name == "autoencode_mlp":
      return F.binary_cross_entropy_with_logits(model(image), image)
    return F.cross_entropy(model(image), y)

  if compiled:
    loss_of = torch.compile(loss_of)

  def update() -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(x, y)
    loss.backward()
    optimizer.step()
    return float(loss.detach())

  return update


def flops(name: str, images: np.ndarray, labels: np.ndarray) -> int:
  """Floating-point operations of one update's convolutions and matrix products, forward and backward."""
  from torch.utils.flop_counter import FlopCounterMode

  update = step(name, images, labels, compiled=False)
  with FlopCounterMode(display=False) as counter:
    update()
  return counter.get_total_flops()
