"""Results as JSONL rows, safe against a kill, and what produced them.

A run directory holds `results.jsonl` (one row per trained predictor), `summary.jsonl` (one per line of its tables),
`metrics.jsonl` (of pretraining), `figures/*.png` and `report.html`.
"""

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sslx.disk import sync
from sslx.types import UserError

Row = dict[str, Any]
TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp|\.checkpoints\.(\d+)")  # of `writing` and of `sslx.save`, by process


def append_row(path: str | os.PathLike[str], row: Mapping[str, Any]) -> None:
  """Appends `row` to the JSONL file at `path` as one line, on disk before this returns.

  A kill leaves at most one broken last line, which the next call cuts off. NumPy and JAX scalars and arrays become
  Python numbers and lists, paths become text, and NaN and infinities become null: JSON has no word for them.

  Raises:
    TypeError: a value that has no JSON form.
    OSError: the disk is full, or the file cannot be written; it names the file, whose rows are kept.
  """
  line = _line(row).encode()
  path = Path(path)
  with _named(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    path.touch()
    with path.open("r+b") as file:
      _seek_to_sound_end(file)
      file.write(line)
      file.flush()
      os.fsync(file.fileno())
    if is_new:
      sync(path.parent)


def write_rows(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes `rows` as the JSONL file at `path`, in place of what is there, atomically; see `append_row` for the values.

  Raises:
    TypeError: a value that has no JSON form.
  """
  write_text(path, "".join(map(_line, rows)))


def write_text(path: str | os.PathLike[str], text: str) -> None:
  """Writes a file in UTF-8, whole or not at all; makes its folder."""
  write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
  """Writes a file, whole or not at all; makes its folder."""
  with writing(path) as temporary:
    temporary.write_bytes(data)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
  """A temporary path in the folder of `path`, which is made. What is written there takes the place of `path` at the
  end, on disk; after an exception it is deleted, and `path` is as it was. A kill leaves it: see `sweep`.

  Raises:
    OSError: the disk is full, or the file cannot be written; it names `path`.
  """
  path = Path(path)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  with _named(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      yield temporary
      with temporary.open("rb") as file:
        os.fsync(file.fileno())
      os.replace(temporary, path)
      sync(path.parent)
    finally:
      temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
  """An OSError of what is written to `path` names it: that of a write names no file, that of a library another."""
  try:
    yield
  except OSError as error:
    is_ours = error.filename is None or TEMPORARY.fullmatch(os.path.basename(os.fsdecode(error.filename)))
    if error.errno is not None and is_ours:
      error.filename = str(path)
    raise


def sweep(directory: str | os.PathLike[str]) -> None:
  """Deletes the temporary files that killed processes left in a run directory and its figures, and no others.

  Call it where the directory is opened for writing. The files of a process that is alive stay.
  """
  directory = Path(directory)
  for path in [*directory.glob(".*"), *directory.glob("figures/.*")]:
    found = TEMPORARY.fullmatch(path.name)
    if found is None or _alive(int(found[1] or found[2])):
      continue
    if path.is_dir():
      shutil.rmtree(path, ignore_errors=True)
    else:
      path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
  """Whether there is such a process, and True where the system cannot say."""
  if os.name == "nt":  # there, os.kill kills
    return True
  try:
    os.kill(process, 0)
  except (ProcessLookupError, OverflowError):
    return False
  except OSError:  # another user's
    return True
  return True


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
  """Writes a mapping as indented JSON with sorted keys, whole or not at all."""
  write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
  """The rows of a JSONL file, in order; [] if there is no such file.

  A broken last line is what a killed run leaves, and is dropped.

  Raises:
    UserError: a broken line before the last: the file was damaged by something else than a kill; or it cannot be read.
  """
  return [row for _, row in numbered_rows(path)]


def numbered_rows(path: str | os.PathLike[str]) -> list[tuple[int, Row]]:
  """`read_rows`, each with the number of its line."""
  path = Path(path)
  try:
    content = path.read_bytes() if path.exists() else b""
  except OSError as error:
    raise UserError(f"{path}: cannot be read ({error.strerror})") from error
  lines = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
  rows = []
  for number, line in lines:
    row = _parse(line)
    if row is not None:
      rows.append((number, row))
    elif number != lines[-1][0]:
      raise UserError(f"{path}: line {number} is not a JSON object; remove or mend that line")
  return rows


def examples_per_second(row: Mapping[str, Any]) -> float | None:
  """The speed in a row of metrics.jsonl or of a benchmark; older rows, of images alone, call it images_per_second."""
  return row.get("examples_per_second", row.get("images_per_second"))


def _line(row: Mapping[str, Any]) -> str:
  return json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n"


def _parse(line: bytes) -> Row | None:
  try:
    row = json.loads(line)
    if b"\\ud" in line.lower():
      _line(row).encode()  # half of a pair of surrogates is no text, and no file takes it
  except (ValueError, RecursionError):  # not JSON, not UTF-8, or too deep
    return None
  return row if isinstance(row, dict) else None


def _seek_to_sound_end(file: BinaryIO) -> None:
  """Cuts a broken last line off, ends a sound one with a newline, and leaves `file` at its end."""
  end = file.seek(0, os.SEEK_END)
  start, tail = end, b""
  while start > 0 and b"\n" not in tail[:-1]:  # read backwards: metrics files grow long and are appended to often
    start = max(0, start - 65536)
    file.seek(start)
    tail = file.read(end - start)
  line = tail[tail[:-1].rfind(b"\n") + 1 :]
  if line.strip() and _parse(line) is None:
    file.truncate(end - len(line))
  file.seek(0, os.SEEK_END)
  if line and not line.endswith(b"\n") and _parse(line) is not None:
    file.write(b"\n")


def plain(value: Any) -> Any:
  """`value` in the types that JSON has."""
  if isinstance(value, float):
    return float(value) if math.isfinite(value) else None
  if value is None or isinstance(value, (str, bool, int)):
    return value
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [plain(item) for item in value]
  if isinstance(value, (set, frozenset)):
    return sorted(plain(item) for item in value)
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if hasattr(value, "tolist"):  # NumPy and JAX, arrays and scalars
    return plain(value.tolist())
  raise TypeError(f"no JSON form for {type(value).__name__}: {value!r}")


def provenance() -> Row:
  """What produced a row: {"git": str | None, "versions": {name: version | None}, "device": str}.

  git is the short hash, with '-dirty' where the code differs from it, of the checkout that sslx itself is imported
  from; None where sslx is installed outside one. device names platform, kind and count, then the CPU and its cores.
  Starts JAX's backend.
  """
  import platform
  from importlib import metadata

  import jax

  def version(name: str) -> str | None:
    try:
      return metadata.version(name)
    except metadata.PackageNotFoundError:
      return None

  devices = jax.devices()
  platform_name, kind = devices[0].platform, devices[0].device_kind
  accelerator = (kind if kind.lower() == platform_name else f"{platform_name}: {kind}") + f" x{len(devices)}"
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  names = ("jax", "jaxlib", "flax", "optax", "sslx")
  return {
    "git": _git(),
    "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
    "device": f"{accelerator}; {_cpu_model()}, {cores} cores",
  }


def _git() -> str | None:
  import subprocess

  package = Path(__file__).resolve().parents[1]  # sslx

  def git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(package), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

  try:
    # An sslx installed in a virtual environment inside somebody's repository must not report that repository's hash.
    if Path(git("rev-parse", "--show-toplevel")).resolve() != package.parent:
      return None
    code = [str(package), str(package.parent / "experiments")]  # an untracked method counts, a stray run folder doesn't
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", *code) else "")
  except (OSError, subprocess.SubprocessError):
    return None


def _cpu_model() -> str:
  import platform

  try:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  except OSError:
    pass
  return platform.processor() or platform.machine()


def any_smoke(rows: Iterable[Mapping[str, Any]]) -> bool:
  """Whether some rows are of a --smoke run, whose numbers mean nothing."""
  return any((row.get("flags") or {}).get("smoke") for row in rows)
