"""One framework and one model, timed on request: `python -m benchmarks.train_worker FRAMEWORK MODEL BATCH`.

The model `matmul` is a float32 product of 3072 x 3072 matrices, rated in floating-point operations per second.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import fail, pretext, random_images, serve, sslx_step

SSLX = {  # model -> (encoder, method, hyper-parameters, features)
  "rotnet": ("rotnet", "supervised", {}, "flatten"),
  "conv_groupnorm": ("conv:widths=32-64-128,norm=group", "supervised", {}, "flatten"),
  "denoise_conv": ("conv", "denoise", {"decoder": "conv"}, "flatten"),
  "autoencode_mlp": ("mlp", "autoencode", {}, "flatten"),
  "resnet18": ("resnet18", "supervised", {}, "pool"),
}
MATMUL = 3072


def sslx_update(model: str, images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
  """One update by sslx's own train step, on all images at once."""
  encoder, method, hp, features = SSLX[model]
  update = sslx_step(pretext(method, encoder, features, **hp), images, labels if method == "supervised" else None)
  rows = np.arange(len(images), dtype=np.int32)
  return lambda: update(rows)


def build(framework: str, model: str, batch: int) -> Callable[[], object]:
  """A function that makes one update and returns when it is done."""
  images, labels = random_images(batch, *((32, 3) if model == "resnet18" else (28, 1)))
  if framework == "sslx":
    return sslx_update(model, images, labels)
  if framework == "keras":
    from benchmarks import keras_models

    return keras_models.step(model, images, labels)
  from benchmarks import torch_models

  return torch_models.step(model, images, labels, compiled=framework == "torch.compile")


def matmul(framework: str) -> Callable[[], object]:
  """One product of square matrices."""
  a = np.random.default_rng(0).normal(size=(MATMUL, MATMUL)).astype(np.float32)
  if framework == "sslx":
    import jax

    a, product = jax.numpy.asarray(a), jax.jit(lambda a: a @ a)
    return lambda: product(a).block_until_ready()
  import torch

  b = torch.from_numpy(a)
  return lambda: b @ b


def main(framework: str, model: str, batch: int) -> None:
  """Builds, warms up, says so, and answers requests until stdin ends."""
  try:
    update = matmul(framework) if model == "matmul" else build(framework, model, batch)
    begin = time.perf_counter()
    first = update()
    compiled = time.perf_counter() - begin
    for _ in range(2):
      update()
  except Exception as error:
    return fail(error)
  ready = {"first_seconds": compiled}
  if model != "matmul":
    ready["first_loss"] = first
    if framework == "torch":
      from benchmarks import torch_models

      ready["flops"] = torch_models.flops(model, *random_images(batch, *((32, 3) if model == "resnet18" else (28, 1))))
  serve(update, 2 * MATMUL**3 if model == "matmul" else batch, **ready)


if __name__ == "__main__":
  main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
