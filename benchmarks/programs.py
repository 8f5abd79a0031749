"""Train steps that are compiled and never run: for arrays of shapes alone, over as many host devices as one likes.

XLA's partitioner decides what has to be sent before anything is compiled for a kind of device, and decides alike for
all of them; what comes after it may merge collectives, which changes their number and not their bytes. Memory is of the
program that it makes for the CPU.
"""

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

QUICK = (
  "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
"""Of machine code, which neither what is sent nor memory depends on."""
BARRIERS = "--xla_disable_hlo_passes=cse_barrier_expander,cse"
"""On the CPU XLA takes out what keeps recomputed activations (`remat`) apart from the first ones, and merges them."""


class Program(NamedTuple):
  """A train step of images."""

  method: str
  encoder: str
  batch: int
  shape: tuple[int, ...]
  devices: int
  hp: Mapping[str, Any] = {}
  precision: str = "float32"
  remat: bool = False
  accumulate: int = 1


def describe(program: Program) -> tuple[Any, Any, dict[str, Any], Any]:
  """(method, first train state, batch, mesh): the arrays as shapes, placed as a run over the mesh places them."""
  import jax
  import numpy as np

  from sslx import nn
  from sslx.modalities import MODALITIES
  from sslx.pretext import METHODS, build
  from sslx.tasks import TASKS
  from sslx.training import optim, parallel
  from sslx.training.step import make_init

  encoder = nn.build(program.encoder, program.precision, remat=program.remat)  # pyright: ignore[reportArgumentType]
  hp = {**METHODS[program.method].settings_for("image"), **program.hp}
  pretext = build(program.method, encoder, hp, TASKS["classification"](tuple("0123456789")), "flatten")
  mesh = parallel.mesh_over(jax.devices()[: program.devices])
  whole, shared = (None, None) if mesh is None else (parallel.whole(mesh), parallel.shared(mesh))

  def on(shape: tuple[int, ...], dtype: Any, sharding: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

  kinds = {"x": (program.shape, np.uint8), "y": ((), np.int32)}
  one = {name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in kinds.items()}
  init = make_init(pretext, optim.optimizer(1e-3), MODALITIES["image"].prepare)
  state = jax.eval_shape(init, jax.random.key(0), one)
  state = jax.tree.map(lambda leaf: on(leaf.shape, leaf.dtype, whole), state)
  batch = {name: on((program.batch, *shape), dtype, shared) for name, (shape, dtype) in kinds.items()}
  return pretext, state, batch, mesh


def compiled(program: Program) -> Any:
  """The step that a stream's batches go through, as accelerators get it; `as_text`, `memory_analysis` and others."""
  from sslx.modalities import MODALITIES
  from sslx.training import optim
  from sslx.training.step import make_train_step

  with for_accelerators():
    pretext, state, batch, mesh = describe(program)
    step: Any = make_train_step(
      pretext, optim.optimizer(1e-3), MODALITIES["image"].prepare, program.accumulate, mesh=mesh
    )
    return step.lower(state, batch, None).compile()


def bytes_of(tree: Any) -> int:
  """Of arrays or their shapes; keys of random numbers count as two words."""
  import jax

  def size(leaf: Any) -> int:
    return 8 if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.dtype.itemsize

  return sum(math.prod(leaf.shape) * size(leaf) for leaf in jax.tree.leaves(tree))


def kept_for_the_gradient(program: Program) -> int:
  """Bytes of activations that the forward pass of one part hands to the backward pass, on all devices together.

  What is traced, without what a compiler makes of it: it may compute cheap ones again, and never keeps more.
  """
  import jax

  from sslx.modalities import MODALITIES
  from sslx.training.step import prepared

  with for_accelerators():
    pretext, state, batch, _ = describe(program._replace(batch=program.batch // program.accumulate, devices=1))

    def residuals(params: Any, batch: Any) -> Any:
      key = jax.random.key(0)
      view = pretext.transform(key, prepared(batch, MODALITIES["image"].prepare))
      return jax.vjp(lambda params: pretext.loss(params, state_of(params), key, view)[0], params)[1]

    def state_of(_: Any) -> Any:
      return jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), state.state)

    kept = bytes_of(jax.eval_shape(residuals, state.params, batch))
  return max(0, kept - bytes_of(state.params))


@contextlib.contextmanager
def for_accelerators() -> Iterator[None]:
  """Within it, what is lowered takes the branch of accelerators where sslx has one of its own for the CPU."""
  from jax import lax

  before = lax.platform_dependent
  try:
    lax.platform_dependent = lambda *args, default=None, **_: default(*args)  # type: ignore[assignment]
    yield
  finally:
    lax.platform_dependent = before


def in_child(module: str, program: Program, flags: str, seconds: float) -> dict[str, Any]:
  """What `python -m MODULE --worker=PROGRAM` prints as JSON, with as many host devices; {"error"} where it takes longer
  than `seconds`, or fails.
  """
  environment = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": f"--xla_force_host_platform_device_count={program.devices} {QUICK} {flags}",
  }
  command = [sys.executable, "-m", module, f"--worker={json.dumps(program._asdict())}"]
  begin = time.perf_counter()
  try:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
  except subprocess.TimeoutExpired:
    return {"error": f"took more than {seconds:.0f} s to compile"}
  lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
  if done.returncode or not lines:
    last = done.stderr.strip().splitlines()[-1:] or [""]
    return {"error": f"exit status {done.returncode}: {last[0][:200]}"}
  return {**json.loads(lines[-1]), "seconds": round(time.perf_counter() - begin, 1)}


def read(text: str) -> Program:
  """The program of `--worker`."""
  values = json.loads(text)
  return Program(**{**values, "shape": tuple(values["shape"])})


def answer(work: Callable[[Program], Mapping[str, Any]], text: str) -> None:
  """A child's side: one line of JSON."""
  print(json.dumps(work(read(text))), flush=True)
