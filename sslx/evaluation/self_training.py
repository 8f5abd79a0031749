"""Self-training: a classifier learns the labels that were spread over a graph, then those that a copy of it is sure of.

    L = (1 - r) w CE(s(a), y) + r [max t(x) >= threshold] CE(s(a), argmax t(x)),    r from 0 to 1 over the run

s(a) is the student on a random view a, t(x) the teacher on the image x itself, whose parameters follow the student's:
xi <- decay xi + (1 - decay) theta after every step. y is the propagated label, and w is 0 where none arrived. Where the
label is known it is y, and takes the place of the teacher's too.

The first term is that of Iscen, Tolias, Avrithis, Chum: Label Propagation for Deep Semi-supervised Learning, CVPR 2019,
arXiv 1904.04717, without their weights; they spread the labels anew over the learnt features at every epoch, we after each
of a few rounds (`sslx.evaluation.compare`), and answer by that graph. On held-out MNIST, leaving out the tenth or fifth of the labels
that were least sure cost more than their errors did. The second is FixMatch's (Sohn et al.: FixMatch: Simplifying
Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020, arXiv 2001.07685), with a mean teacher (Tarvainen,
Valpola, NIPS 2017, arXiv 1703.01780) on the image instead of the network itself on a weak view. Not in METHODS: it is what
the mode `self_train` trains with (sslx/evaluation/finetune.py), and reads labels.
"""

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.modalities import views
from sslx.pretext.families import averages as memory
from sslx.pretext.families import common
from sslx.types import Array, Batch, Metrics, Params, Pretext, State

# milder than those of pretraining: a classifier is asked about plain images, and learns from these in two epochs
MILD = ("digits:degrees=10,scale=0.1,shift=0.1,shear=0.15,elastic=0.5,contrast=0.1", "photos:crop=0.5,jitter=0.4")


def self_training(
  encoder: nn.Encoder,
  *,
  num_classes: int,
  steps: int,
  threshold: float = 0.95,
  decay: float = 0.99,
  views_spec: str = "auto",
) -> Pretext:
  """Reads batches of image u8[B,H,W,C], label i32[B], told (there is one) and known bool[B]; `steps`: of the whole run.

  State: teacher, its parameters by role (batch statistics are the student's); done, the steps behind.
  """
  head, view = nn.Linear(num_classes, zero=True), views.build(views_spec, MILD)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "head")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    params = {"encoder": params, "head": nn.init(head, keys["head"], nn.read(outputs, features))[0]}
    return params, {"encoder": stats, "teacher": params, "done": jnp.zeros((), jnp.int32)}

  def transform(key: Array, batch: Batch) -> Batch:
    image = batch["x"]
    return {**batch, "image": image, "view": view(key, image)}

  def classify(params: Params, stats: State, image: Array, train: bool) -> tuple[Array, State]:
    outputs, stats = nn.apply(encoder, params["encoder"], stats, image, train=train)
    return nn.apply(head, params["head"], {}, nn.read(outputs, features))[0], stats

  def loss(params: Params, state: State, key: Array, batch: Batch) -> tuple[Array, tuple[State, Metrics]]:
    logits, stats = classify(params, state["encoder"], batch["view"], True)
    taught = jax.nn.softmax(classify(state["teacher"], state["encoder"], batch["x"], False)[0])
    known, label = batch["known"], batch["label"]
    own = jnp.where(known, label, taught.argmax(1))
    sure = known | (taught.max(1) >= threshold)
    r = state["done"] / steps
    first, second = losses.cross_entropies(logits, label), losses.cross_entropies(logits, own)
    value = ((1 - r) * batch["told"] * first + r * sure * second).mean()
    metrics = {"teacher_sure": sure.mean(), "teacher_agrees": (own == label).mean()}
    return value, ({**state, "encoder": stats}, metrics)

  def update(params: Params, state: State, step: Array) -> State:
    return {**state, "teacher": memory.ema(state["teacher"], params, decay), "done": state["done"] + 1}

  return Pretext(init, loss, transform, update)
