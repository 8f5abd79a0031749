"""Self-training: a classifier learns the labels that were spread over a graph, then those that a copy of it is sure of.

    L = (1 - r) w CE(s(a), y) + r [max t(x) >= threshold] CE(s(a), argmax t(x)),    r from 0 to 1 over the run

s(a) is the student on a random view a, t(x) the teacher on the image x itself, whose parameters follow the student's:
xi <- decay xi + (1 - decay) theta after every step. y is the propagated label, and w is 0 where none arrived. Where the
label is known it is y, and takes the place of the teacher's too.

The first term is that of Iscen, Tolias, Avrithis, Chum: Label Propagation for Deep Semi-supervised Learning, CVPR 2019,
arXiv 1904.04717, without their weights; they spread the labels anew over the learnt features at every epoch, we after
each of a few rounds, and answer by that graph. On held-out MNIST, leaving out the tenth or fifth of the labels
that were least sure cost more than their errors did. The second is FixMatch's (Sohn et al.: FixMatch: Simplifying
Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020, arXiv 2001.07685), with a mean teacher
(Tarvainen, Valpola, NIPS 2017, arXiv 1703.01780) on the image instead of the network itself on a weak view. Not in
METHODS: it is what the modes self_train and raw+self_train train with, and reads labels.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx import losses, nn
from sslx.data.lazy import Rows, take
from sslx.evaluation.bench import Bench, Case, Predictor, Source
from sslx.evaluation.features import extract
from sslx.evaluation.finetune import linear_head
from sslx.evaluation.propagation import Propagated, graph, graph_of, spread
from sslx.evaluation.recipe import Recipe
from sslx.modalities import views
from sslx.pretext.families import averages, common
from sslx.training import hooks, masks, optim, parallel
from sslx.training.loop import Loop, fit
from sslx.training.progress import progress
from sslx.training.step import Prepare, TrainStep, make_init, make_train_step
from sslx.types import Array, Batch, Metrics, Params, Pretext, State, Task

# milder than those of pretraining: a classifier is asked about plain images, and learns from these in two epochs
MILD = ("digits:degrees=10,scale=0.1,shift=0.1,shear=0.15,elastic=0.5,contrast=0.1", "photos:crop=0.5,jitter=0.4")


def self_training(
  encoder: nn.Encoder,
  task: Task,
  features: str,
  *,
  steps: int,
  threshold: float = 0.95,
  decay: float = 0.99,
  views_spec: str = "auto",
) -> Pretext:
  """Reads batches of x, y i32[B], told (there is one) and known bool[B]; `steps`: of the whole run.

  State: teacher, its parameters by role (batch statistics are the student's); done, the steps behind.
  """
  head, view = nn.Linear(task.outputs, zero=True), views.build(views_spec, MILD)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "head")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    params = {"encoder": params, "head": nn.init(head, keys["head"], nn.read(outputs, features))[0]}
    return params, {"encoder": stats, "teacher": params, "done": jnp.zeros((), jnp.int32)}

  def transform(key: Array, batch: Batch) -> Batch:
    return {**batch, "view": view(key, batch["x"])}

  def classify(params: Params, stats: State, image: Array, train: bool) -> tuple[Array, State]:
    outputs, stats = nn.apply(encoder, params["encoder"], stats, image, train=train)
    return nn.apply(head, params["head"], {}, nn.read(outputs, features))[0], stats

  def loss(params: Params, state: State, key: Array, batch: Batch) -> tuple[Array, tuple[State, Metrics]]:
    logits, stats = classify(params, state["encoder"], batch["view"], True)
    taught = jax.nn.softmax(classify(state["teacher"], state["encoder"], batch["x"], False)[0])
    known, label = batch["known"], batch["y"]
    target = jnp.where(known, label, task.decide(taught))
    sure = known | (taught.max(1) >= threshold)
    r = state["done"] / steps
    first, second = losses.cross_entropies(logits, label), losses.cross_entropies(logits, target)
    value = ((1 - r) * batch["told"] * first + r * sure * second).mean()
    metrics = {"teacher_sure": sure.mean(), "teacher_agrees": (target == label).mean()}
    return value, ({**state, "encoder": stats}, metrics)

  def update(params: Params, state: State, step: Array) -> State:
    return {**state, "teacher": averages.ema(state["teacher"], params, decay), "done": state["done"] + 1}

  return Pretext(init, loss, transform, update)


@functools.lru_cache(maxsize=16)
def make_self_train(
  encoder: nn.Encoder, reading: str, task: Task, recipe: Recipe, prepare: Prepare
) -> Callable[..., Predictor]:
  """A function (representation, all training x [N,...], rows and their y i32[n], Propagated, seed, title) -> Predictor:
  all of the network, trained on the propagated labels and then on what its teacher is sure of (see `self_training`).
  The teacher is what comes back.

  Labelled examples are repeated so that they make up an eighth of the batches.
  """
  compiled: dict[Any, tuple[Pretext, optax.GradientTransformation, TrainStep]] = {}  # by steps and mesh

  def run(
    start: nn.Representation,
    x: Rows,
    rows: np.ndarray,
    y: np.ndarray,
    propagated: Propagated,
    seed: int,
    title: str | None = None,
  ) -> Predictor:
    n = len(x)
    order = np.concatenate([np.arange(n), np.tile(rows, max(1, n // (7 * len(rows))))])
    given = task.decide(propagated.belief).astype(np.int32)
    given[rows] = y
    known = np.zeros(n, bool)
    known[rows] = True
    told = known | (propagated.belief.sum(1) > 0)  # an island of the graph without a label is left to the teacher
    data = {"x": take(x, order), "y": given[order], "told": told[order], "known": known[order]}
    batch_size = min(recipe.self_train_batch_size, len(order))
    steps = max(1, round(recipe.self_train_epochs * (len(order) // batch_size)))
    mesh = parallel.mesh_of(start)
    if (steps, mesh) not in compiled:
      pretext = self_training(encoder, task, reading, steps=steps)
      rate = optim.cosine(recipe.self_train_learning_rate, steps, warmup=steps // 20)
      tx = optim.optimizer(rate, weight_decay=recipe.weight_decay)
      compiled[steps, mesh] = pretext, tx, make_train_step(pretext, tx, prepare, mesh=mesh)
    pretext, tx, step = compiled[steps, mesh]
    ts = make_init(pretext, tx, prepare)(jax.random.key(seed), {"x": x[np.arange(1)]})
    tree = jax.tree.map(jnp.array, {"params": start.params, "stats": start.stats})  # a copy: the step donates it
    params = {**ts.params, "encoder": tree["params"]}
    state = {**ts.state, "encoder": tree["stats"], "teacher": jax.tree.map(jnp.array, params)}
    ts, logged = parallel.replicate(ts._replace(params=params, state=state), mesh), []
    with progress(title, steps) as bar:
      beside = [hooks.log_to(logged.append), hooks.showing(bar, 0)]
      ts = fit(ts, step, data, Loop(steps, batch_size, seed), beside)
    teacher, total = ts.state["teacher"], masks.count(ts.params)
    chosen = {name: logged[-1][name] for name in ("teacher_sure", "teacher_agrees")}
    after = start.holding(teacher["encoder"], ts.state["encoder"])
    return Predictor(after, linear_head(teacher["head"], chosen), total, total)

  return run


def self_trained(reads: Source):
  """The `fit` of a mode that trains encoder and head on all training examples, from a subset's propagated labels, and
  spreads the labels anew over the graph of what it learnt; each round starts at the same weights with the labels of the
  one before. From the pretrained weights, or from random ones and the graph of raw signals.
  """

  def fit_case(bench: Bench, case: Case) -> Predictor:
    x, recipe, rounds = bench.dataset.pretraining_x, bench.recipe, bench.recipe.self_train_rounds
    rows = bench.rows(case)
    y = bench.dataset.train.targets()[rows]
    start = bench.pretrained if reads == "pretrained" else bench.fresh(1000 + case.subset_seed)
    train = make_self_train(start.encoder, start.reading, bench.task, recipe, start.prepare)
    labels = spread(bench, case, graph_of(bench, reads))
    for number in range(1, rounds + 1):
      title = f"{case}, round {number} of {rounds}"
      predictor = train(start, x, rows, y, labels, case.subset_seed, title)
      mesh = parallel.mesh_of(predictor.represent)
      labels = spread(bench, case, graph(extract(predictor.represent, x), mesh=mesh))
    chosen = {**labels.chosen, **predictor.head.chosen, "rounds": rounds}
    return predictor._replace(head=labels._replace(chosen=chosen))

  return fit_case
