"""Where the files of `folder:DIR` and `audio:DIR` are: every real folder once, whatever links lead to it."""

import os
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.data.images import EXTENSIONS
from sslx.data.labels_file import labels_of
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
  """The files of a data set, by its class folders. Without any class, those of train have no labels."""

  names: tuple[str, ...]
  """Of the classes, in the order of their numbers."""
  files: dict[str, list[str]]
  """Of each split that is there, one class after another."""
  labels: dict[str, np.ndarray | None]
  """Of each of these splits, i32; None of what has none."""


def class_folders(root: Path, spec: str, kind: Kind, labels_file: str | None = None) -> Classes:
  """DIR/train/CLASS/*, [DIR/test/CLASS/*] and [DIR/unlabeled/*]; the classes in the order of their names.

  Where DIR/unlabeled/ is all there is, its files are those of train, and there is no class.

  labels_file: a table of labels, see `sslx.data.labels_file`: files of unlabeled that have one are of train.

  Raises:
    UserError: naming the folder: missing, without examples, fewer than two classes, or a test class unknown to train;
      or the line of the table.
  """
  folders = {part: folders_in(root / part) for part in ("train", "test") if (root / part).is_dir()}
  has_unlabeled = (root / "unlabeled").is_dir()
  if "train" not in folders and not (has_unlabeled and (labels_file or "test" not in folders)):
    raise UserError(f"{root / 'train'}: missing; {_layout(root, spec, kind)}")
  tops = {part: [root / part / name for name in names] for part, names in folders.items()}
  if has_unlabeled:
    tops["unlabeled"] = [root / "unlabeled"]
  found = walk(root, [top for each in tops.values() for top in each], spec, "the class folders", kind)
  named = {part: {path: top.name for top in tops.get(part, ()) for path in found[top]} for part in ("train", "test")}
  unlabeled, table = found.get(root / "unlabeled", []), {}
  if labels_file is not None:
    table = labels_of(labels_file, spec, root, named["train"], named["test"], unlabeled)
  named["train"] |= table
  names = sorted(set(named["train"].values()))
  _check_classes(root, folders, kind, found, names)
  places = {name: place for place, name in enumerate(names)}
  files = {part: sorted(each, key=lambda path: places[each[path]]) for part, each in named.items() if each}
  labels: dict[str, np.ndarray | None] = {
    part: np.array([places[named[part][path]] for path in paths], np.int32) for part, paths in files.items()
  }
  if rest := [path for path in unlabeled if path not in table]:
    part = "unlabeled" if names else "train"
    files[part], labels[part] = rest, None
  return Classes(readable(names), files, labels)


def _check_classes(
  root: Path,
  folders: Mapping[str, Sequence[str]],
  kind: Kind,
  found: Mapping[Path, Sequence[str]],
  names: Sequence[str],
) -> None:
  """Raises UserError for splits and classes that cannot be meant.

  folders: of classes, by split. found: the files of each. names: the classes that examples of train have.
  """
  holds_none = f"holds no {kind.name}s ({', '.join(kind.extensions)})"
  empty = [name for name in folders.get("train", ()) if not found[root / "train" / name] and name not in names]
  if "train" in folders and len({*names, *empty}) < 2:
    raise UserError(f"{root / 'train'}: holds {len(folders['train'])} class folders; at least two are needed")
  unknown = [name for name in folders.get("test", ()) if name not in {*names, *empty}]
  if unknown:
    raise UserError(f"{root / 'test' / unknown[0]}: class {unknown[0]!r} is unknown to {root / 'train'}")
  if empty:
    raise UserError(f"{root / 'train' / empty[0]}: {holds_none}")
  if "test" in folders and not any(found[root / "test" / name] for name in folders["test"]):
    raise UserError(f"{root / 'test'}: {holds_none}; delete it or fill it")
  if not found.get(root / "unlabeled", True):
    raise UserError(f"{root / 'unlabeled'}: {holds_none}; delete it or fill it")


def _layout(root: Path, spec: str, kind: Kind) -> str:
  """Which folders are needed, and what to do about those that are there."""
  needed = f"{spec.partition(':')[0]}:DIR needs DIR/train/CLASS/ with {kind.name}s, or DIR/unlabeled/ without labels"
  there = listed(root)
  classes = [name for name in there if name not in _PARTS and any(is_kind(file, kind) for file in _inside(root / name))]
  if len(classes) > 1:
    return (
      f"{needed}: move the folders {', '.join(classes[:3])}{' ...' if len(classes) > 3 else ''} into {root / 'train'}"
    )
  if any(is_kind(name, kind) for name in there):
    return f"{needed}: move the {kind.name}s of {root} into {root / 'unlabeled'}"
  return needed


def folders_in(folder: Path) -> list[str]:
  """The names of the folders in a folder, sorted; none where it is missing."""
  return [name for name in _inside(folder) if (folder / name).is_dir()]


def _inside(folder: Path) -> list[str]:
  return listed(folder) if folder.is_dir() else []


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
  above = [*root.resolve().parents, root, *(top for top in (root / "train", root / "test") if top.is_dir())]
  seen = {_key(folder): str(folder) for folder in above}
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
    for name in _inside(root / part):
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
