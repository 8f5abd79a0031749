"""Stacked denoising autoencoder: one block after the other learns to restore its own input, then all of them the image.

    L_k = mean (decoder_k(block_k(mask(h_{k-1}))) - h_{k-1})^2,  h_{k-1} = block_{k-1}(... block_1(x)), for k = 2 .. K

Phase 1 is the same on the image with the pixel loss. The joint phase after the K-th is the denoising autoencoder of the
image through all blocks and, unrolled in reverse, all decoders. Each phase of a block lasts `layer_steps` steps.

Vincent, Larochelle, Lajoie, Bengio, Manzagol: Stacked Denoising Autoencoders: Learning Useful Representations in a
Deep Network with a Local Denoising Criterion, JMLR 2010, section 3.5 and figure 3: the corruption is for the block in
training alone; its input comes from the clean image, through finished blocks (here in evaluation mode, without
gradient). The unrolling is that of Hinton, Salakhutdinov: Reducing the Dimensionality of Data with Neural Networks,
Science 2006; the 2010 paper goes on with labels instead, as --modes=full does.

Deviations: means instead of sums; decoders not tied; outputs of blocks are not confined to [0, 1], so that theirs is
the squared error of a linear decoder, and the unrolled ones are joined by relu. One AdamW serves all phases: its
momentum, for some steps, and its weight decay go on moving blocks that are finished, or whose turn has not come, a
little, and its learning rate falls over all phases together. An optimiser for each phase would be a second trainer.
"""

import functools
import itertools

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops.corrupt import masking
from sslx.pretext.families import checks, common
from sslx.pretext.families.autoencoder import block_shapes
from sslx.types import Array, Batch, Params, Pretext, State, UserError

Shape = tuple[int, ...]


def layer_decoder(code: Shape, target: Shape) -> nn.DictionaryDecoder | nn.MlpDecoder:
  """The linear layer back from a block's output to its input, shapes without the batch.

  A transposed convolution between maps, else a dense layer, which takes a flat target [D] for an image [1,1,D].
  """
  height, width, channels = target if len(target) == 3 else (1, 1, *target)
  if len(code) == 3:
    stride = max(-(-height // code[0]), -(-width // code[1]))
    return nn.DictionaryDecoder((height, width, channels), kernel=2 * stride + 1)
  return nn.MlpDecoder((height, width, channels))


def stacked_denoise(
  encoder: nn.Encoder,
  *,
  layer_steps: int = 450,
  level: float = 0.5,
  output: str = "sigmoid",
  loss: str = "bce",
) -> Pretext:
  """Greedy layer-wise, then joint denoising. `phase` in the metrics: 1 .. K for the blocks, K + 1 for all of them.

  layer_steps: steps for each block; what is left of the run is the joint phase (none of it in a run that is too short).
    450 and level 0.5 were chosen on the last 10,000 training images of MNIST.
  level: fraction of pixels, or of a block's inputs, that is set to 0.
  """
  checks.at_least_one(layer_steps=layer_steps)
  if not 0 <= level <= 1:
    raise UserError(f"--hp=level={level:g}: must be in [0, 1]: the fraction that is set to 0.")
  pixel_loss, names = losses.pixel_loss(output, loss), encoder.block_names

  def undo(params: Params, k: int, code: Array, target: Shape) -> Array:
    """The decoder of block k (from 0): its output [B,...] -> its input [B,*target], before the output activation."""
    module = layer_decoder(code.shape[1:], target)
    return nn.apply(module, params["decoder"][names[k]], {}, code)[0].reshape(len(code), *target)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "decoder")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    decoder_keys, decoder = jax.random.split(keys["decoder"], len(names)), {}
    for k, (below, above) in enumerate(itertools.pairwise([batch["x"], *outputs.values()])):
      decoder[names[k]] = nn.init(layer_decoder(above.shape[1:], below.shape[1:]), decoder_keys[k], above)[0]
    return {"encoder": params, "decoder": decoder}, {"encoder": stats, "step": jnp.zeros((), jnp.int32)}

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    clean = batch["x"]
    return {"x": masking(key, clean, level)[0], "target": clean}

  def unroll(params: Params, state: State, code: Array, image_shape: Shape) -> Array:
    """All decoders, the last block's first: [B,...] -> [B,*image_shape], before the output activation."""
    outputs = block_shapes(encoder, params, state, image_shape)
    inputs = [image_shape, *(output.shape[1:] for output in outputs.values())]
    for k in reversed(range(len(names))):
      code = undo(params, k, code if k == len(names) - 1 else jax.nn.relu(code), inputs[k])
    return code

  def loss_fn(params: Params, state: State, key: Array, view: dict[str, Array]):
    noisy, clean, stats = view["x"], view["target"], state["encoder"]

    def layer(k: int) -> tuple[Array, dict]:
      x, corrupted = clean, noisy
      if k > 0:
        below = nn.apply(encoder.clone(blocks=encoder.blocks[:k]), params["encoder"], stats, clean)[0]
        x = jax.lax.stop_gradient(common.last(below))
        corrupted = masking(key, x, level)[0]
      block = encoder.clone(blocks=encoder.blocks[k : k + 1])
      outputs, after = nn.apply(block, params["encoder"], stats, corrupted, train=True)
      raw = undo(params, k, common.last(outputs), x.shape[1:])
      return losses.mean(jnp.square(raw - x) if k else pixel_loss(raw, x)), after

    def joint() -> tuple[Array, dict]:
      outputs, after = nn.apply(encoder, params["encoder"], stats, noisy, train=True)
      return losses.mean(pixel_loss(unroll(params, state, common.last(outputs), clean.shape[1:]), clean)), after

    phase = jnp.minimum(state["step"] // layer_steps, len(names))
    phases = [*(functools.partial(layer, k) for k in range(len(names))), joint]
    value, after = jax.lax.switch(phase, phases)  # computes the one of now
    metrics = {"phase": (phase + 1).astype(jnp.float32), "reconstruction": value}
    return value, ({**state, "encoder": after}, metrics)

  def update(params: Params, state: State, step: Array) -> State:
    return {**state, "step": (step + 1).astype(jnp.int32)}  # the step that comes next

  def decode(params: Params, state: State, code: Array, image_shape: Shape) -> Array:
    return jnp.clip(losses.OUTPUTS[output](unroll(params, state, code, image_shape)), 0, 1)

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    code = common.last(nn.apply(encoder, params["encoder"], state["encoder"], view["x"])[0])
    restored = decode(params, state, code, view["x"].shape[1:])
    return {"clean": view["target"], "noisy": view["x"], "restored": restored}

  return Pretext(init, loss_fn, transform, update, show, decode)
