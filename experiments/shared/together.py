"""A pretraining in several processes: the first one calls the others, which take every step with it."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.shared import command, devices, processes
from sslx.types import UserError

FLAGS = flags.FLAGS

if TYPE_CHECKING:
  from jax.sharding import Mesh

  from sslx import nn
  from sslx.training.run import Plan
  from sslx.types import TrainState


def how(plan: "Plan") -> dict[str, Any]:
  """Of `sslx.training.loop.Loop`: the same in all processes, which take the same steps."""
  from sslx.training.run import log_every

  return {"log_every": log_every(plan.steps), "workers": FLAGS.workers, "agree": processes.agree()}


def begun(plan: "Plan", ts: "TrainState", mesh: "Mesh | None") -> "TrainState":
  """The state that training starts from, on the mesh. Other processes are called to train along, from the same state.

  Raises:
    UserError: there are others, which do not know how an experiment changed the method.
  """
  from sslx.training import parallel

  if processes.count() > 1:
    if plan.config.variant:
      raise UserError(f"this experiment changes {plan.config.method} ({plan.config.variant}): run it in one process.")
    processes.call({"pretrain": plan.meta.to_json()})
    ts = processes.spread(ts)
  return parallel.replicate(ts, mesh)


def representation(plan: "Plan", ts: "TrainState") -> "nn.Representation":
  """The encoder of a state, on the devices of this process, for all that comes after."""
  import jax

  from sslx.training import parallel, run
  from sslx.types import ENCODER

  tree = jax.device_get({"params": ts.params[ENCODER], "stats": ts.state[ENCODER]})
  return run.representation(plan.meta, parallel.replicate(tree, devices.here()))


def follow() -> None:
  """In another process than the first: takes every step of its pretrainings with it; never returns."""
  with command.running():
    processes.follow(_train_along)


def _train_along(message: Mapping[str, Any]) -> None:
  """Nothing is logged, watched or saved: the first process does.

  Raises:
    UserError: this process reads other data than the first.
  """
  from experiments.shared.runs import load_dataset
  from sslx.training import parallel, run
  from sslx.training.run import Meta

  meta = Meta.read(message["pretrain"])
  config, place = meta.config, meta.place or meta.config.dataset
  dataset = command.once(("data of the first process", place), lambda: load_dataset(place))
  dataset = dataclasses.replace(dataset, name=config.dataset)
  plan = run.plan(config, dataset.doing(meta.task) if meta.task in dataset.others else dataset, meta.features)
  if plan.config != config:
    raise UserError("its data are not those of the first process, or this experiment is one for one process")
  mesh = devices.everywhere(plan.batch_size, config.accumulate)
  ts = parallel.replicate(processes.spread(run.start(plan)), mesh)
  run.run(plan._replace(watched={}), ts, **how(plan))
