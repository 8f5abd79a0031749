"""Where the files of `folder:DIR` and `audio:DIR` are: every real folder once, whatever links lead to it."""

import os
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.data.images import EXTENSIONS
from sslx.data.warn import warn
from sslx.types import UserError

_PARTS = ("train", "test", "unlabeled")


class Kind(NamedTuple):
  """Which files are examples."""

  name: str
  """Of one of them: image."""
  extensions: tuple[str, ...]
  """What their names end with, in lower case."""


IMAGES = Kind("image", EXTENSIONS)


class Classes(NamedTuple):
  """The files of a data set, by its class folders."""

  names: tuple[str, ...]
  """Of the classes, in the order of their numbers."""
  files: dict[str, list[str]]
  """Of each split, one class after another."""
  labels: dict[str, np.ndarray | None]
  """Of each split, i32; None of unlabeled."""


def class_folders(root: Path, spec: str, kind: Kind) -> Classes:
  """DIR/train/CLASS/*, DIR/test/CLASS/* and [DIR/unlabeled/*]; the classes in the order of their names.

  Raises:
    UserError: naming the folder: missing, without examples, fewer than two classes, or a test class unknown to train.
  """
  names = classes_of(root / "train", kind, spec)
  if len(names) < 2:
    raise UserError(f"{root / 'train'}: holds {len(names)} class folders; at least two are needed")
  unknown = sorted(set(classes_of(root / "test", kind, spec)) - set(names))
  if unknown:
    raise UserError(f"{root / 'test' / unknown[0]}: class {unknown[0]!r} is unknown to {root / 'train'}")
  parts = {part: [root / part / name for name in names] for part in ("train", "test")}
  if (root / "unlabeled").is_dir():
    parts["unlabeled"] = [root / "unlabeled"]
  tops = [folder for folders in parts.values() for folder in folders]
  found = walk(root, tops, spec, "the class folders", kind)
  files: dict[str, list[str]] = {}
  labels: dict[str, np.ndarray | None] = {"unlabeled": None}
  holds_none = f"holds no {kind.name}s ({', '.join(kind.extensions)})"
  for part, folders in parts.items():
    by_folder = [found[folder] for folder in folders]
    empty = [folder for folder, paths in zip(folders, by_folder, strict=True) if not paths]
    if part == "train" and empty:
      raise UserError(f"{empty[0]}: {holds_none}")
    files[part] = [path for paths in by_folder for path in paths]
    if part != "unlabeled":
      labels[part] = np.repeat(np.arange(len(names), dtype=np.int32), [len(paths) for paths in by_folder])
    if not files[part]:
      raise UserError(f"{root / part}: {holds_none}{'; delete it or fill it' if part == 'unlabeled' else ''}")
  return Classes(readable(names), files, labels)


def classes_of(folder: Path, kind: Kind, spec: str) -> list[str]:
  """The names of its class folders, sorted. Raises UserError where it is missing."""
  if not folder.is_dir():
    raise UserError(
      f"{folder}: missing; {spec.partition(':')[0]}:DIR needs DIR/train/CLASS/ and DIR/test/CLASS/ with {kind.name}s"
    )
  return sorted(name for name in listed(folder) if (folder / name).is_dir())


def readable(names: Sequence[str]) -> tuple[str, ...]:
  """Names of files as text, all different: a byte that is not UTF-8 becomes U+FFFD."""
  texts: list[str] = []
  for name in names:
    text = os.fsencode(name).decode("utf-8", "replace")
    while text in texts or (text != name and text in names):
      text += "\ufffd"
    texts.append(text)
  return tuple(texts)


def walk(root: Path, tops: Sequence[Path], spec: str, place: str, kind: Kind = IMAGES) -> dict[Path, list[str]]:
  """The files of a kind below each of `tops`, which are folders of the data set in `root`, sorted.

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
        if is_kind(name, kind):
          found[top].append(os.path.join(where, name))
        elif not name.startswith("."):
          others[os.path.splitext(name)[1].lower() or "without an ending"] += 1
  _tell(root, spec, place, kind, others, skipped, seen)
  return {top: sorted(paths) for top, paths in found.items()}


def is_kind(name: str, kind: Kind) -> bool:
  """Whether a file is called as the examples of this kind are."""
  return name.lower().endswith(kind.extensions) and not name.startswith(".")


def is_image(name: str) -> bool:
  """Whether a file is called as the images are that are read."""
  return is_kind(name, IMAGES)


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
  kind: Kind,
  others: Counter[str],
  skipped: Sequence[tuple[str, str]],
  seen: dict[tuple[int, int], str],
) -> None:
  loose = []
  for part in ("train", "test"):
    for name in listed(root / part):
      if is_kind(name, kind):
        loose.append(str(root / part / name))
      elif not (root / part / name).is_dir():
        others[os.path.splitext(name)[1].lower() or "without an ending"] += 1
  if others:
    kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5))
    more = ", ..." if len(others) > 5 else ""
    what = _count(others.total(), f"file that is no {kind.name}", f"files that are no {kind.name}s")
    warn(spec, f"passed over {what}: {kinds}{more}")
  if loose:
    warn(spec, f"passed over {_count(len(loose), kind.name, kind.name + 's')} outside {place}, such as {loose[0]}")
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
      hint = "train, test, unlabeled are read"
      if is_unlabeled:
        hint = f"call it unlabeled/ to pretrain on its {kind.name}s too"
      warn(spec, f"passed over the folder {root / name}; {hint}")


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
