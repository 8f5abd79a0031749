"""The benchmarked models in Keras 3 on TensorFlow. `step(name, images, labels)` is one update.

Layers, sizes, loss and optimiser are those of torch_models.py. Callers set
TF_CPP_MIN_LOG_LEVEL=3 to silence TensorFlow.
"""

import os
from collections.abc import Callable

os.environ["KERAS_BACKEND"] = "tensorflow"  # before keras is imported

import keras
import numpy as np
import tensorflow as tf
from keras import layers

Block = Callable[[tf.Tensor], tf.Tensor]


class SaltPepper(layers.Layer):
  """Half of the pixels become 0 or 1, by a fair coin."""

  def __init__(self):
    super().__init__()
    self.seed = keras.random.SeedGenerator(0)

  def call(self, x: tf.Tensor) -> tf.Tensor:
    """[B,H,W,C] -> the same shape."""
    draw = [keras.random.uniform(keras.ops.shape(x), seed=self.seed) for _ in range(2)]
    return keras.ops.where(draw[0] < 0.5, keras.ops.cast(draw[1] < 0.5, x.dtype), x)


def conv(x: tf.Tensor, widths: tuple[int, ...], norm: bool) -> tf.Tensor:
  """The blocks of sslx's conv encoder: [B,H,W,C] -> [B,ceil(H/8),ceil(W/8),widths[-1]] for three widths."""
  for width in widths:
    x = layers.Conv2D(width, 3, padding="same", use_bias=not norm)(x)
    x = layers.GroupNormalization(8, epsilon=1e-5)(x) if norm else x
    x = layers.MaxPooling2D(2, padding="same")(layers.ReLU()(x))  # rounds odd sizes up: 28 -> 14 -> 7 -> 4
  return x


def residual(x: tf.Tensor, width: int, stride: int) -> tf.Tensor:
  """A basic residual block: [B,H,W,C] -> [B,H/stride,W/stride,width]."""

  def conv_norm(x: tf.Tensor, kernel: int, stride: int) -> tf.Tensor:
    x = layers.Conv2D(width, kernel, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

  body = conv_norm(layers.ReLU()(conv_norm(x, 3, stride)), 3, 1)
  shortcut = x if stride == 1 and x.shape[-1] == width else conv_norm(x, 1, stride)
  return layers.ReLU()(layers.Add()([body, shortcut]))


def rotnet(x: tf.Tensor) -> tf.Tensor:
  """The notebook's encoder and a dense classifier."""
  x = layers.MaxPooling2D(2)(layers.Conv2D(64, 3, 2, padding="same", activation="relu")(x))
  x = layers.MaxPooling2D(2)(layers.Conv2D(32, 3, padding="same", activation="relu")(x))
  return layers.Dense(10)(layers.Flatten()(x))


def conv_groupnorm(x: tf.Tensor) -> tf.Tensor:
  """Three conv blocks with GroupNorm, and a dense classifier."""
  return layers.Dense(10)(layers.Flatten()(conv(x, (32, 64, 128), norm=True)))


def denoise_conv(x: tf.Tensor) -> tf.Tensor:
  """Three conv blocks, and three transposed convolutions back to the image."""
  x = conv(SaltPepper()(x), (16, 32, 64), norm=False)
  for width, size in ((32, 7), (16, 14), (1, 28)):
    x = layers.Conv2DTranspose(width, 3, 2, padding="same", activation="relu" if width > 1 else None)(x)
    surplus = x.shape[1] - size
    x = layers.Cropping2D(((0, surplus), (0, surplus)))(x) if surplus else x
  return x


def autoencode_mlp(x: tf.Tensor) -> tf.Tensor:
  """784-1000-500-64-500-1000-784."""
  shape = x.shape[1:]
  x = layers.Flatten()(x)
  for i, width in enumerate((1000, 500, 64, 500, 1000, 784)):
    x = layers.Dense(width, activation="relu" if i not in (2, 5) else None)(x)
  return layers.Reshape(shape)(x)


def resnet18(x: tf.Tensor) -> tf.Tensor:
  """ResNet-18 with the CIFAR stem, and a dense classifier."""
  x = layers.Conv2D(64, 3, padding="same", use_bias=False)(x)
  x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))
  for i in range(4):
    x = residual(residual(x, 64 * 2**i, 1 if i == 0 else 2), 64 * 2**i, 1)
  return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


MODELS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
  "rotnet": rotnet,
  "conv_groupnorm": conv_groupnorm,
  "denoise_conv": denoise_conv,
  "autoencode_mlp": autoencode_mlp,
  "resnet18": resnet18,
}

RECONSTRUCTS = ("denoise_conv", "autoencode_mlp")
XLA = (
  "autoencode_mlp",
)  # the convolutional models are slower with it on a CPU, though `Model.compile` would choose it


def build(name: str, image_shape: tuple[int, int, int]) -> keras.Model:
  """The model of uint8 images [B,H,W,C]: the first layer scales them to [0, 1]."""
  image = keras.Input(image_shape, dtype="uint8")
  return keras.Model(image, MODELS[name](layers.Rescaling(1 / 255)(image)))


def step(name: str, images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
  """A function that makes one update on the batch and returns the loss: forward, backward, AdamW.

  A custom step in tf.function: `train_on_batch`, compiled the same way, took the same time or a few percent more,
  within the noise of a shared machine.
  """
  keras.utils.set_random_seed(0)
  model = build(name, images.shape[1:])
  optimizer = keras.optimizers.AdamW(1e-3, weight_decay=1e-4)
  optimizer.build(model.trainable_variables)
  x, y = tf.constant(images), tf.constant(labels, tf.int32)
  if name in RECONSTRUCTS:
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
  else:
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

  @tf.function(jit_compile=name in XLA)
  def train(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
      target = tf.cast(x, tf.float32) / 255 if name in RECONSTRUCTS else y
      loss = cross_entropy(target, model(x, training=True))
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    return loss

  return lambda: float(train(x, y))
