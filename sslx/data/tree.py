"""Where the images of `folder:DIR` are: every real folder once, whatever links lead to it."""

import os
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

from sslx.data.images import EXTENSIONS
from sslx.data.warn import warn
from sslx.types import UserError

_PARTS = ("train", "test", "unlabeled")


def walk(root: Path, tops: Sequence[Path], spec: str, place: str) -> dict[Path, list[str]]:
  """The image files below each of `tops`, which are folders of the data set in `root`, sorted.

  A folder belongs to the first top that it really lies in; a link adds one only where it leads to what no top holds
  yet. So a link to the folder of another class, of another split, or to a parent adds nothing. What is passed over, and
  which links, is told on stderr, with `spec` for a name; hidden files and folders are not.

  place: the word for `tops` in what is told, such as "the class folders".

  Raises:
    UserError: naming a folder that cannot be read.
  """
  # The parents of the data set, with itself, hold more than one class: a link to them belongs to none.
  seen = {_key(folder): str(folder) for folder in (*root.resolve().parents, root, root / "train", root / "test")}
  owners: dict[tuple[int, int], Path] = {}
  there = [top for top in tops if top.is_dir()]  # the test split may lack a class
  for top in there:
    owners.setdefault(_key(top), top)
  found: dict[Path, list[str]] = {top: [] for top in tops}
  skipped: list[tuple[str, str]] = []
  others: Counter[str] = Counter()
  waiting = deque((top, str(top)) for top in there)
  while waiting:  # all tops come before all links
    top, start = waiting.popleft()
    for where, folders, files in os.walk(start, onerror=_refuse):
      key = _key(where)
      if key in seen or owners.get(key, top) != top:
        skipped.append((where, seen[key] if key in seen else str(owners[key])))
        folders.clear()
        continue
      seen[key] = where
      folders[:] = sorted(name for name in folders if not name.startswith("."))
      waiting.extend((top, path) for name in folders if os.path.islink(path := os.path.join(where, name)))
      for name in files:
        if is_image(name):
          found[top].append(os.path.join(where, name))
        elif not name.startswith("."):
          others[os.path.splitext(name)[1].lower() or "without an ending"] += 1
  _tell(root, spec, place, others, skipped, seen)
  return {top: sorted(paths) for top, paths in found.items()}


def is_image(name: str) -> bool:
  """Whether a file is called as the images are that are read."""
  return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def listed(folder: Path) -> list[str]:
  """What is in a folder and not hidden. Raises UserError if it cannot be read."""
  try:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))
  except OSError as error:
    _refuse(error)
    raise


def _tell(
  root: Path,
  spec: str,
  place: str,
  others: Counter[str],
  skipped: Sequence[tuple[str, str]],
  seen: dict[tuple[int, int], str],
) -> None:
  loose = []
  for part in ("train", "test"):
    for name in listed(root / part):
      if is_image(name):
        loose.append(str(root / part / name))
      elif not (root / part / name).is_dir():
        others[os.path.splitext(name)[1].lower() or "without an ending"] += 1
  if others:
    kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5))
    more = ", ..." if len(others) > 5 else ""
    warn(
      spec, f"passed over {_count(others.total(), 'file that is no image', 'files that are no images')}: {kinds}{more}"
    )
  if loose:
    warn(spec, f"passed over {_count(len(loose), 'image', 'images')} outside {place}, such as {loose[0]}")
  if skipped:
    what = _count(
      len(skipped),
      "folder behind links that is read elsewhere or holds the data set",
      "folders behind links that are read elsewhere or hold the data set",
    )
    shown = ", ".join(f"{where} is {other}" for where, other in skipped[:3])
    warn(spec, f"passed over {what}: {shown}" + (" ..." if len(skipped) > 3 else ""))
  for name in listed(root):
    if name not in _PARTS and (root / name).is_dir() and _key(root / name) not in seen:
      is_unlabeled = "".join(filter(str.isalpha, name.lower())) in ("unlabeled", "unlabelled")
      hint = (
        "; call it unlabeled/ to pretrain on its images too" if is_unlabeled else "; train, test, unlabeled are read"
      )
      warn(spec, f"passed over the folder {root / name}{hint}")


def _count(n: int, one: str, many: str) -> str:
  return f"{n} {one if n == 1 else many}"


def _key(folder: str | Path) -> tuple[int, int]:
  try:
    found = os.stat(folder)
  except OSError as error:
    _refuse(error)
    raise
  return found.st_dev, found.st_ino


def _refuse(error: OSError) -> None:
  raise UserError(f"{error.filename}: cannot be read ({error.strerror or error})") from error
