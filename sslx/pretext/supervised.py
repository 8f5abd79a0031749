"""Supervised training: the baseline that every comparison needs, and the fine-tuning of a pretrained encoder.

    L = mean of the task's loss(dense(features(encoder(x))), y)

Linear head on the features, zero-initialised. Blocks outside `train_blocks` run in evaluation mode, so that a frozen
block's batch statistics stay as they are.
"""

from collections.abc import Mapping

from sslx import nn
from sslx.pretext.families import common
from sslx.types import Array, Batch, Params, Pretext, Refusal, State, Task


def supervised(
  encoder: nn.Encoder, task: Task, features: str = "flatten", train_blocks: tuple[str, ...] | None = None
) -> Pretext:
  """Learns `task` from its targets y; train_blocks: blocks in training mode, None for all of them."""
  head = nn.Linear(task.outputs, zero=True)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    if "y" not in batch:
      raise Refusal("--method=supervised needs labels, and this data set has none.")
    keys = common.split(key, "encoder", "head")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    return {"encoder": params, "head": nn.init(head, keys["head"], nn.read(outputs, features))[0]}, {"encoder": stats}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    train = True if train_blocks is None else train_blocks
    blocks, stats = nn.apply(encoder, params["encoder"], state["encoder"], view["x"], train=train)
    outputs, _ = nn.apply(head, params["head"], {}, nn.read(blocks, features))
    metrics = {task.score.name: task.scores(outputs, view["y"])[task.score.name]}
    return task.loss(outputs, view["y"]).mean(), ({**state, "encoder": stats}, metrics)

  return Pretext(init, loss, common.as_is, common.no_update)
