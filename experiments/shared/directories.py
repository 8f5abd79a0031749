"""Run directories: opened by what they belong to, locked against other processes; those of an older sslx are found."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.shared import command
from sslx.training.config import Config
from sslx.types import UserError

LOCK = ".lock"  # the process that works in a directory holds it, and its number stands in it
DIGESTS = ("data", "data_digest")  # entries that tell of the data, which runs from before sslx 0.2 do not have


def open_directory(out: Path, identity: Mapping[str, Any], name: str, fresh: bool) -> Path:
  """The run directory of `identity` below `out`, made if need be; config.json in it says what it belongs to.

  It is called `name` and a digest of `identity`; one that an older sslx called otherwise is found by its config.json.
  No other process can open it until this command ends.

  Raises:
    UserError: it is not writable, another process works in it, or config.json in it is of another configuration.
  """
  from sslx.report import records

  text = json.dumps(identity, indent=2, sort_keys=True) + "\n"
  digest = hashlib.sha256(text.encode()).hexdigest()[:8]
  stem = re.sub(r"[^\w.=]+", "-", name)[:80].strip("-")
  directory = (out / f"{stem}-{digest}").absolute()
  if not directory.exists():
    directory = _older(out, stem, json.loads(text)) or directory
  try:
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK):
      raise PermissionError(f"{directory} is read-only")
    command.hold(("lock", directory.resolve()), lambda: locked(directory))
    records.sweep(directory)
    if fresh:  # what this command made itself is fresh
      command.once(("emptied", directory.resolve()), lambda: _empty(directory))
    path = directory / "config.json"
    if not path.exists():
      records.write_text(path, text)
    elif not agrees(_read(path), json.loads(text)):
      raise UserError(
        f"--out={out}: {directory} belongs to another configuration (see its config.json); use --fresh or another "
        "--out."
      )
  except OSError as error:
    raise UserError(
      f"--out={out}: cannot write there ({error.strerror or error}); name a folder you may write to."
    ) from error
  return directory


def _read(path: Path) -> dict[str, Any]:
  """The identity in a config.json. Raises UserError where it holds none."""
  try:
    saved = json.loads(path.read_text())
  except ValueError:
    saved = None
  if not isinstance(saved, dict):
    raise UserError(f"{path}: damaged; use --fresh, which starts over, or another --out.")
  return upgraded(saved)


def _empty(directory: Path) -> None:
  """Deletes what is in it, but for the lock: a new one would be another, which the next process could have."""
  for path in directory.iterdir():
    if path.name == LOCK:
      continue
    if path.is_dir() and not path.is_symlink():
      shutil.rmtree(path)
    else:
      path.unlink()


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
  """Within, no other process is let in. The kernel lets go of it when this process ends, however it does.

  Where there are no such locks, as on Windows and some network file systems, everyone is let in.

  Raises:
    UserError: another process is in it.
  """
  try:
    import fcntl
  except ImportError:
    yield
    return
  with (directory / LOCK).open("a+") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      pid = file.read(20).strip()
      who = f"another process (pid {pid})" if pid.isdecimal() else "another process"
      raise UserError(f"{directory}: {who} works here; wait for it, or name another --out.") from None
    except OSError:  # this file system has no locks
      pass
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    yield


# ---- of an older sslx ------------------------------------------------------------------------------------------------


def _older(out: Path, stem: str, identity: dict[str, Any]) -> Path | None:
  """The directory that an older sslx made for this identity, under another digest."""
  for path in sorted(out.glob(f"{stem}-*/config.json")) if out.is_dir() else []:
    try:
      if agrees(_read(path), identity):
        return path.parent.absolute()
    except (OSError, UserError):  # another's directory is no reason to stop
      continue
  return None


def upgraded(saved: Mapping[str, Any]) -> dict[str, Any]:
  """What an older sslx wrote of a configuration, or of an identity that holds one, as it is written today."""
  if "hp" in saved:
    settings = {name: value for name, value in saved.items() if name != "step"}
    step = {"step": saved["step"]} if "step" in saved else {}
    return {**Config.read(settings).to_json(), **step}
  kept = dict(saved)
  if isinstance(saved.get("pretraining"), Mapping):
    kept["pretraining"] = upgraded(saved["pretraining"])
  if isinstance(saved.get("compare"), list):
    kept["compare"] = [upgraded(item) for item in saved["compare"]]
  return kept


def agrees(saved: Any, wanted: Any) -> bool:
  """Whether what was saved is what is wanted, both of JSON's types. A digest of the data that an older sslx did not
  keep is no difference.
  """
  if isinstance(saved, Mapping) and isinstance(wanted, Mapping):
    unknown = {name for name in DIGESTS if not saved.get(name)}
    names = saved.keys() - unknown
    return names == wanted.keys() - unknown and all(agrees(saved[name], wanted[name]) for name in names)
  if isinstance(saved, list) and isinstance(wanted, list):
    return len(saved) == len(wanted) and all(map(agrees, saved, wanted))
  return saved == wanted
