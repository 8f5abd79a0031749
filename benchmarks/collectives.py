"""What a compiled train step sends between devices: read from the program that XLA makes for one of them.

Nothing is run: the step is lowered for arrays of shapes alone, over as many host devices as `XLA_FLAGS` asks for. XLA's
partitioner decides what has to be sent before anything is compiled for a kind of device, and decides alike for all of
them; what comes after it may merge collectives, which changes their number and not their bytes.
"""

import contextlib
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "f64": 8}
CALLS = re.compile(r"(?:to_apply|calls|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
COLLECTIVE = re.compile(rf"= (\(.*?\)|\S+) ({'|'.join(KINDS)})(?:-start)?\(")


class Collective(NamedTuple):
  """One instruction of the program of a device."""

  kind: str
  bytes: int
  """Of the whole result on a device: of an all-gather what all devices have, of an all-reduce what each has."""
  devices: int
  """How many take part."""
  times: int
  """How often a step runs it: the trips of the loops that it is in."""

  @property
  def sent(self) -> float:
    """Bytes that a device sends over a ring in a step."""
    n = self.devices
    share = {"all-reduce": 2 * (n - 1) / n, "reduce-scatter": n - 1, "collective-permute": 1}
    return self.times * self.bytes * share.get(self.kind, (n - 1) / n)


def collectives(text: str) -> list[Collective]:
  """Those of the program in XLA's text form, `compiled.as_text()`.

  Raises:
    ValueError: one lies in a loop whose trips are not known.
  """
  bodies, entry = _computations(text)
  every = int(found[1]) if (found := re.search(r"num_partitions=(\d+)", text)) else 1
  counted: list[Collective] = []

  def walk(name: str, times: int) -> None:
    for line in bodies[name]:
      if match := COLLECTIVE.search(line):
        if not times:
          raise ValueError(f"in a loop of unknown length: {line.strip()[:200]}")
        counted.append(Collective(match[2], _size(match[1]), _group(line, every), times))
        continue  # what it applies is a sum
      trips = times
      if " while(" in line:
        known = re.search(r'known_trip_count":\s*\{"n":\s*"(\d+)"', line)
        trips = times * (int(known[1]) if known else 0)
      called = CALLS.findall(line) + [b.strip().lstrip("%") for g in BRANCHES.findall(line) for b in g.split(",")]
      for inner in called:
        walk(inner, trips)

  walk(entry, 1)
  return [each for each in counted if each.devices > 1]


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
  """{name: lines} of every computation, and the name of the first that runs."""
  bodies: dict[str, list[str]] = {}
  entry, name = "", ""
  for line in text.splitlines():
    head = re.match(r"(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$|(ENTRY )?%?([\w.\-]+) \(.*-> .*\{$", line)
    if head and not line.startswith((" ", "HloModule")):
      name = head[2] or head[4]
      bodies[name] = []
      entry = name if line.startswith("ENTRY") else entry
    elif name:
      bodies[name].append(line)
  return bodies, entry


def _size(shape: str) -> int:
  """Bytes of `f32[4,8]{1,0}`, or of a tuple of such."""
  parts = re.findall(r"(\w+)\[([\d,]*)\]", shape)
  return sum(BYTES.get(kind, 4) * math.prod(int(n) for n in dims.split(",") if n) for kind, dims in parts)


def _group(line: str, every: int) -> int:
  """Devices of one replica group, written as `{{0,1},{2,3}}`, `[2,2]<=[4]`, or `{}` for all."""
  if match := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
    return int(match[1])
  if match := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
    return match[1].count(",") + 1
  return every


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


def compiled_step(
  method: str,
  encoder: str,
  batch: int,
  shape: tuple[int, ...],
  devices: int,
  hp: dict[str, Any] | None = None,
  precision: str = "float32",
  accumulate: int = 1,
  resident: bool = False,
) -> Any:
  """The compiled train step on `devices` devices of a method, of images u8 [batch, *shape] that are handed to it, or,
  with `resident`, of two batches of images that live on every device.
  """
  import jax
  import numpy as np

  from sslx import nn
  from sslx.modalities import MODALITIES
  from sslx.pretext import METHODS, build
  from sslx.tasks import TASKS
  from sslx.training import optim, parallel
  from sslx.training.step import make_init, make_train_step

  built = nn.build(encoder, precision)
  settings = {**METHODS[method].settings_for("image"), **(hp or {})}
  pretext = build(method, built, settings, TASKS["classification"](tuple("0123456789")), "flatten")
  prepare, tx = MODALITIES["image"].prepare, optim.optimizer(1e-3)
  mesh = parallel.mesh_over(jax.devices()[:devices])
  count = 2 * batch if resident else batch

  def on(leaf: Any, sharding: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

  one = {"x": np.zeros((1, *shape), np.uint8), "y": np.zeros(1, np.int32)}
  every, parts = (None, None) if mesh is None else (parallel.whole(mesh), parallel.shared(mesh))
  with for_accelerators():
    ts = jax.eval_shape(make_init(pretext, tx, prepare), jax.random.key(0), one)
    ts = jax.tree.map(lambda leaf: on(leaf, every), ts)
    data = {name: np.broadcast_to(array, (count, *array.shape[1:])) for name, array in one.items()}
    data = {name: on(array, every if resident else parts) for name, array in data.items()}
    axis = None if mesh is None else parallel.shared(mesh, 1)
    rows = on(np.zeros((1, batch), np.int32), axis) if resident else None
    step: Any = make_train_step(pretext, tx, prepare, accumulate, mesh=mesh)
    return step.lower(ts, data, rows).compile()
