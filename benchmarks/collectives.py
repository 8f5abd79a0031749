"""What a compiled train step sends between devices: read from the program that XLA makes for one of them."""

import math
import re
from typing import NamedTuple

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
