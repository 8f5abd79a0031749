"""The data set `scenes`: digits of MNIST on a background, with their boxes, masks and numbers.

Scenes are rendered once by `sslx.data.render` and kept in data_dir: in a folder named by a digest of their settings.
"""

import contextlib
import dataclasses
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sslx import options
from sslx.data.fingerprint import digest_of
from sslx.data.idx import read_idx_folder
from sslx.data.render import RENDERER, Rendered, Scenes, render
from sslx.data.types import Dataset, LazyArray, Request, Rows, Split
from sslx.data.warn import say, warn
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS
from sslx.types import UserError

PRESETS = {
  "one": {"objects": (1, 1), "digits": (14, 28), "degrees": 45.0},
  "hard": {"objects": (1, 4), "digits": (12, 28), "degrees": 25.0, "contrast": 0.5, "clutter": 6},
}
"""Settings by one name, the first after the colon; others may follow it."""
CLASSES = tuple("0123456789")
SPLITS = ("train", "test")
POSE = ("y", "x", "size", "angle")  # the numbers of a scene of one digit: pixels, and degrees
COUNT = ("count",)  # of scenes whose number of digits varies
SIZES = (24, 512)
MOST_OBJECTS = 9
SMALLEST_DIGIT = 6
LARGEST = 16 << 30  # bytes of all scenes and masks
_MNIST = Path(__file__).parent / "mnist"


def settings(spec: str) -> Scenes:
  """The settings that a name such as `scenes:one,colour=true` stands for.

  Raises:
    UserError: an unknown preset or option (with the nearest names), or a value out of range.
  """
  scheme, _, argument = spec.partition(":")
  first, *rest = [text for text in argument.split(",") if text] or [""]
  values = dict(PRESETS.get(first, {}))
  if first not in PRESETS and first:
    rest = [first, *rest]
  for text in rest:
    if "=" not in text:
      why = f"{text!r} stands first" if text in PRESETS else f"no scenes are called {text!r}"
      raise UserError(f"--dataset={spec}: {why}.{options.nearest(text, [*PRESETS, *options.parameters(Scenes)])}")
  values |= options.parse(Scenes, rest, f"--dataset={scheme}:")
  for name in ("objects", "digits"):
    if name in values:
      values[name] = _range(spec, name, values[name])
  made = Scenes(**values)
  _check(spec, made)
  return made


def _range(spec: str, name: str, numbers: tuple[int, ...]) -> tuple[int, int]:
  """`3` is `3-3`."""
  if len(numbers) not in (1, 2) or numbers[0] > numbers[-1]:
    raise UserError(f"--dataset={spec}: {name} must be one number or two, the smaller first, such as {name}=1-3")
  return numbers[0], numbers[-1]


def _check(spec: str, made: Scenes) -> None:
  limits = {
    "size": (made.size, *SIZES),
    "objects": (made.objects[0], 1, MOST_OBJECTS), "objects ": (made.objects[1], 1, MOST_OBJECTS),
    "digits": (made.digits[0], SMALLEST_DIGIT, SIZES[1]),
    "degrees": (made.degrees, 0, 180), "contrast": (made.contrast, 0.1, 1), "clutter": (made.clutter, 0, 50),
    "noise": (made.noise, 0, 1), "seed": (made.seed, 0, math.inf), "train": (made.train, 1, math.inf),
    "test": (made.test, 1, math.inf),
  }  # fmt: skip
  for name, (value, low, high) in limits.items():
    why = options.beyond(value, low=low, high=high)
    if why:
      raise UserError(f"--dataset={spec}: {name.strip()} {why}")
  turn = math.radians(min(made.degrees, 45))
  room = math.ceil(made.digits[1] * (math.cos(turn) + math.sin(turn))) + 2
  if room > made.size:
    raise UserError(
      f"--dataset={spec}: digits of {made.digits[1]} pixels, turned by up to {made.degrees:g} degrees, need scenes of "
      f"size={room}; size is {made.size}: make it larger, or digits smaller"
    )
  weight = made.size**2 * (made.train + made.test) * (4 if made.colour else 2)
  if weight > LARGEST:
    raise UserError(
      f"--dataset={spec}: that is {weight >> 30} GB of scenes, more than {LARGEST >> 30}; make size or train smaller"
    )


def load_scenes(request: Request) -> Dataset:
  """Scenes x u8 [N,H,W,1 or 3], for detection and segmentation, and for regression of numbers where there are any.

  Of one digit, the numbers are POSE, and regression is what they are for first; where the number of digits varies, it
  is COUNT.

  Raises:
    UserError: settings that are wrong, --image_size, an unknown number in `request.targets`, or a data_dir that the
      user named and that cannot be written.
  """
  made = settings(request.spec)
  if request.image_size is not None:
    joint = "," if request.argument else ":" if ":" not in request.spec else ""
    raise UserError(
      f"--image_size={request.image_size}: scenes are rendered at their size: write "
      f"--dataset={request.spec}{joint}size={request.image_size}"
    )
  known = POSE if made.objects == (1, 1) else COUNT if made.objects[0] < made.objects[1] else ()
  names = _numbers(request, known)
  arrays = _arrays(made, request)
  targets = {part: _targets(arrays[part], names) for part in SPLITS}
  tasks = {
    "detection": TASKS["detection"](CLASSES),
    "segmentation": TASKS["segmentation"](("background", *CLASSES)),
    **({"regression": TASKS["regression"](names)} if names else {}),
  }
  first = "regression" if known == POSE else "detection"
  train, test = (Split(arrays[part]["x"], targets[part].pop(first), others=targets[part]) for part in SPLITS)
  task = tasks.pop(first)
  return Dataset(request.spec, MODALITIES["image"], task, train, test, others=tasks)


def _numbers(request: Request, known: tuple[str, ...]) -> tuple[str, ...]:
  """The numbers that are asked for, in their order."""
  where = f"--target={','.join(request.targets)}: {request.spec}"
  if request.targets and not known:
    raise UserError(f"{where} has no numbers, as its scenes all have as many digits; try scenes:one")
  for i, name in enumerate(request.targets):
    if name not in known:
      raise UserError(f"{where} has no number {name!r}.{options.nearest(name, known)}")
    if name in request.targets[:i]:
      raise UserError(f"{where}: {name!r} is given twice.")
  return request.targets or known


def _targets(arrays: dict[str, Rows], names: tuple[str, ...]) -> dict[str, np.ndarray]:
  boxes, masks, poses = (np.asanyarray(arrays[name]) for name in ("boxes", "masks", "poses"))
  found = {"detection": boxes, "segmentation": masks}
  if not names:
    return found
  first = boxes[:, 0]
  numbers = {
    "count": (boxes[..., 0] >= 0).sum(1), "y": (first[:, 1] + first[:, 3]) / 2, "x": (first[:, 2] + first[:, 4]) / 2,
    "size": poses[:, 0, 0], "angle": poses[:, 0, 1],
  }  # fmt: skip
  return {**found, "regression": np.stack([numbers[name] for name in names], 1).astype(np.float32)}


# ---- what is kept ----------------------------------------------------------------------------------------------------


def _arrays(made: Scenes, request: Request) -> dict[str, dict[str, Rows]]:
  """{split: {field of Rendered: its array}}, from data_dir, where they are rendered first if they are not there."""
  facts = json.dumps({"renderer": RENDERER, **dataclasses.asdict(made)}, sort_keys=True)
  root = Path(request.data_dir) / "sslx_scenes"
  folder = root / digest_of([facts.encode()])[:12]
  kept = _read(folder, made, request)
  if kept:
    return kept
  say(request.spec, f"rendering {made.train:,} + {made.test:,} scenes, once; they are kept in {folder}")
  try:
    _write(folder, made)
  except OSError as error:
    refused = f"cannot write {request.data_dir} ({error.strerror or error})"
    if request.data_dir_is_given:
      raise UserError(f"{refused}; name a writable folder with --data_dir") from error
    warn(request.spec, f"{refused}; rendered into memory instead")
    return {part: _joined(chunks) for part, chunks in _rendered(made)}
  kept = _read(folder, made, request)
  if kept is None:
    raise UserError(f"{folder}: damaged while it was written; delete it, or name another --data_dir")
  return kept


def _rendered(made: Scenes) -> Iterator[tuple[str, Iterator[Rendered]]]:
  digits = read_idx_folder(_MNIST)
  for number, part in enumerate(SPLITS):
    split = digits[part]
    yield part, render(np.asarray(split.x)[..., 0], split.targets(), getattr(made, part), made, (made.seed, number))


def _joined(chunks: Iterable[Rendered]) -> dict[str, Rows]:
  return {name: np.concatenate(parts) for name, parts in zip(Rendered._fields, zip(*chunks, strict=True), strict=True)}


def _shapes(made: Scenes, count: int) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
  most, size = made.objects[1], made.size
  return {
    "x": (np.dtype(np.uint8), (count, size, size, 3 if made.colour else 1)),
    "boxes": (np.dtype(np.float32), (count, most, 5)),
    "masks": (np.dtype(np.uint8), (count, size, size)),
    "poses": (np.dtype(np.float32), (count, most, 2)),
    "sources": (np.dtype(np.int32), (count, most)),
  }


def _write(folder: Path, made: Scenes) -> None:
  """Renders into a folder beside it, which is renamed when all is written."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  unfinished = folder.with_name(f"{folder.name}.incomplete{os.getpid()}")
  try:
    unfinished.mkdir(exist_ok=True)
    (unfinished / "settings.json").write_text(json.dumps(dataclasses.asdict(made), indent=1))
    for part, chunks in _rendered(made):
      with contextlib.ExitStack() as stack:
        files = {}
        for name, (dtype, shape) in _shapes(made, getattr(made, part)).items():
          files[name] = stack.enter_context(open(unfinished / f"{part}_{name}.npy", "wb"))
          header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
          np.lib.format.write_array_header_1_0(files[name], header)
        for chunk in chunks:
          for name, array in chunk._asdict().items():
            files[name].write(array.tobytes())  # and not through a memory map, which a full disk would end with a crash
    if folder.exists():  # damaged, or another process was faster
      shutil.rmtree(folder)
    unfinished.rename(folder)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _read(folder: Path, made: Scenes, request: Request) -> dict[str, dict[str, Rows]] | None:
  """What `_write` left; None where it is not there, or is damaged. What is beyond in_memory_limit stays on the disk."""
  splits: dict[str, dict[str, Rows]] = {}
  for part in SPLITS:
    splits[part] = {}
    for name, (dtype, shape) in _shapes(made, getattr(made, part)).items():
      path = folder / f"{part}_{name}.npy"
      is_large = math.prod(shape) * dtype.itemsize > request.in_memory_limit
      try:
        array = np.load(path, mmap_mode="r" if is_large else None)
      except (OSError, ValueError, EOFError):
        return None
      if array.dtype != dtype or array.shape != shape:
        return None
      splits[part][name] = _lazy(array, path) if is_large and name == "x" else array
  return splits


def _lazy(array: np.ndarray, path: Path) -> LazyArray:
  return LazyArray(array.shape, lambda rows: np.asarray(array[rows]), array.dtype, files=(str(path),))
