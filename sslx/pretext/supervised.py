"""Supervised training: the baseline that every comparison needs, and the fine-tuning of a pretrained encoder.

    L = mean of the task's loss(head(features(encoder(x))), y)

The head is the task's: for classes and numbers a dense layer that starts at zero. Blocks outside `train_blocks` run in
evaluation mode, so that a frozen block's batch statistics stay as they are.
"""

from collections.abc import Mapping

from sslx import nn
from sslx.modalities import views as viewing
from sslx.pretext.families import common
from sslx.types import Array, Batch, Params, Pretext, Refusal, State, Task, UserError


def supervised(
  encoder: nn.Encoder,
  task: Task,
  features: str = "flatten",
  train_blocks: tuple[str, ...] | None = None,
  *,
  views: str | None = None,
) -> Pretext:
  """Learns `task` from its targets y; train_blocks: blocks in training mode, None for all of them.

  views: random views of the examples to learn from, see sslx/modalities/views.py; none: the examples as they are.
  """
  head, watched = task.head(), task.watched or task.scores
  augment = viewing.build(views, spectrogram=encoder.spectrogram) if views else None
  if augment and task.is_dense:
    raise UserError(f"--augment={views}: views move what lies in the picture, and {task.name} answers for its places.")
  reader = encoder.body if augment else encoder  # views of sound are spectrograms already

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    if "y" not in batch:
      raise Refusal("--method=supervised needs labels, and this data set has none.")
    keys = common.split(key, "encoder", "head")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    read = encoder.read(outputs, features, batch["x"])
    return {"encoder": params, "head": nn.init(head, keys["head"], read)[0]}, {"encoder": stats}

  def transform(key: Array, batch: Batch) -> Batch:
    return {**batch, "x": augment(key, batch["x"])} if augment else batch

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    train = True if train_blocks is None else train_blocks
    blocks, stats = nn.apply(reader, params["encoder"], state["encoder"], view["x"], train=train)
    read = encoder.read(blocks, features, view["x"])
    outputs, _ = nn.apply(head, params["head"], {}, read)
    return task.loss(outputs, view["y"]).mean(), ({**state, "encoder": stats}, watched(outputs, view["y"]))

  return Pretext(init, loss, transform, common.no_update)
