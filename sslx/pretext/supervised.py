"""Supervised classification: the baseline that every comparison needs, and the fine-tuning of a pretrained encoder.

    L = cross-entropy(dense(features(encoder(x))), label)

Linear head on the features, zero-initialised. Blocks outside `train_blocks` run in evaluation mode, so that a frozen
block's batch statistics stay as they are.
"""

from collections.abc import Mapping

from sslx import losses, nn
from sslx.pretext import common
from sslx.types import Array, Batch, Params, Pretext, State, UserError


def supervised(
  encoder: nn.Encoder, features: str = "flatten", train_blocks: tuple[str, ...] | None = None, *, num_classes: int
) -> Pretext:
  """Classifier over `num_classes` classes; train_blocks: blocks in training mode, None for all of them."""
  head = nn.Linear(num_classes, zero=True)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    if "label" not in batch:
      raise UserError("--method=supervised needs labels, and this data set has none.")
    keys = common.split(key, "encoder", "head")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["image"])
    return {"encoder": params, "head": nn.init(head, keys["head"], nn.read(outputs, features))[0]}, {"encoder": stats}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    train = True if train_blocks is None else train_blocks
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], view["image"], train=train)
    logits, _ = nn.apply(head, params["head"], {}, nn.read(outputs, features))
    metrics = {"accuracy": losses.accuracy(logits, view["label"])}
    return losses.cross_entropy(logits, view["label"]), ({**state, "encoder": stats}, metrics)

  return Pretext(init, loss, common.encoder_features(encoder, features), common.as_float, common.no_update)
