"""The data set `scenes`: digits of MNIST on a background, with their boxes, masks and numbers.

Scenes are rendered once by `sslx.data.render`. `sslx.data.kept` keeps them in data_dir.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslx import options
from sslx.data.digits import Digits
from sslx.data.idx import read_idx_folder
from sslx.data.kept import kept
from sslx.data.lazy import Rows
from sslx.data.render import RENDERER, Rendered, Scenes, render
from sslx.data.settings import check_ranges, with_ranges
from sslx.data.types import Dataset, Request, Split
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS
from sslx.types import UserError

PRESETS: dict[str, dict[str, Any]] = {
  "one": {"objects": (1, 1), "digits": (14, 28), "degrees": 45.0},
  "hard": {"objects": (1, 4), "digits": (12, 28), "degrees": 25.0, "contrast": 0.5, "clutter": 6},
}
"""Settings under one name, which comes first after the colon; others may follow it."""
CLASSES = tuple("0123456789")
SPLITS = ("train", "test")
POSE = ("y", "x", "size", "angle")  # the numbers of scenes of one digit; the first three in pixels, the last in degrees
COUNT = ("count",)  # the number of scenes whose number of digits varies
LARGEST = 16 << 30  # bytes of all scenes and masks
LIMITS: dict[str, tuple[float, float]] = {
  "size": (24, 512), "objects": (1, 9), "digits": (6, 512), "degrees": (0, 180), "contrast": (0.1, 1),
  "clutter": (0, 50), "noise": (0, 1), "seed": (0, math.inf), "train": (1, math.inf), "test": (1, math.inf),
}  # fmt: skip
_MNIST = Path(__file__).parent / "mnist"


# ---- settings --------------------------------------------------------------------------------------------------------


def settings(spec: str) -> Scenes:
  """The settings that a name such as `scenes:one,colour=true` stands for.

  Raises:
    UserError: an unknown preset or option (with the nearest names), or a value out of range.
  """
  scheme, _, argument = spec.partition(":")
  texts = [text for text in argument.split(",") if text]
  values = dict(PRESETS[texts.pop(0)]) if texts and texts[0] in PRESETS else {}
  known = options.parameters(Scenes)
  for text in texts:
    if text in PRESETS:
      raise UserError(f"--dataset={spec}: {text!r} stands first, and once: {scheme}:{text},...")
    if "=" not in text and text not in known:
      raise UserError(f"--dataset={spec}: no scenes are called {text!r}.{options.nearest(text, [*PRESETS, *known])}")
  values |= options.parse(Scenes, texts, f"--dataset={scheme}:")
  return _checked(spec, Scenes(**with_ranges(spec, values, ("objects", "digits"))))


def _checked(spec: str, made: Scenes) -> Scenes:
  """The settings. Raises UserError where they are out of range, or do not go together."""
  check_ranges(spec, made, LIMITS)
  turn = math.radians(min(made.degrees, 45))
  room = math.ceil(1.03 * made.digits[1] * (math.cos(turn) + math.sin(turn))) + 2  # of a square that is turned
  if room > made.size:
    raise UserError(
      f"--dataset={spec}: size={made.size} is too small for digits of {made.digits[1]} pixels, turned by up to "
      f"{made.degrees:g} degrees, which need size={room}; make it larger, or digits smaller: digits=MIN-MAX"
    )
  weight = _bytes(made)
  if weight > LARGEST:
    raise UserError(
      f"--dataset={spec}: that is {weight / 2**30:.0f} GB of scenes, more than {LARGEST >> 30}; "
      "make size or train smaller"
    )
  return made


def _bytes(made: Scenes) -> int:
  return made.size**2 * (made.train + made.test) * (4 if made.colour else 2)


# ---- the data set ----------------------------------------------------------------------------------------------------


def load_scenes(request: Request) -> Dataset:
  """Scenes x u8 [N,H,W,1 or 3] for detection and segmentation, and for regression where there are numbers.

  Scenes of one digit have the numbers POSE, and are for regression unless another task is named; where the number of
  digits varies, it is the number COUNT.

  Raises:
    UserError: settings that are wrong, --image_size, an unknown number in `request.targets`, or a data_dir that the
      user named and that cannot be written.
  """
  made = settings(request.spec)
  if request.image_size is not None:
    joint = "," if request.argument else "" if request.spec.endswith(":") else ":"
    raise UserError(
      f"--image_size={request.image_size}: scenes are rendered at the size that is asked for; write "
      f"--dataset={request.spec}{joint}size={request.image_size}"
    )
  known = POSE if made.objects == (1, 1) else COUNT if made.objects[0] < made.objects[1] else ()
  names = _numbers(request, known)
  tasks = {
    "detection": TASKS["detection"](CLASSES),
    "segmentation": TASKS["segmentation"](("background", *CLASSES)),
    **({"regression": TASKS["regression"](names)} if names else {}),
  }
  arrays = kept(
    request,
    "sslx_scenes",
    {"renderer": RENDERER, "settings": vars(made)},
    _layout(made),
    lambda: _parts(made),
    _bytes(made),
  )
  first = "regression" if known == POSE else "detection"
  train, test = (_split(arrays[part], names, first) for part in SPLITS)
  task = tasks.pop(first)
  return Dataset(request.spec, MODALITIES["image"], task, train, test, others=tasks)


def _numbers(request: Request, known: Sequence[str]) -> tuple[str, ...]:
  """The numbers that are asked for, in their order."""
  where = f"--target={','.join(request.targets)}: {request.spec}"
  if request.targets and not known:
    raise UserError(f"{where} has no numbers, as its scenes all have as many digits; try scenes:one")
  for i, name in enumerate(request.targets):
    if name not in known:
      raise UserError(f"{where} has no number {name!r}.{options.nearest(name, known)}")
    if name in request.targets[:i]:
      raise UserError(f"{where}: {name!r} is given twice.")
  return request.targets or tuple(known)


def _split(arrays: dict[str, Rows], names: Sequence[str], first: str) -> Split:
  """The split whose y is of the task `first`."""
  boxes, masks, poses = (np.asanyarray(arrays[name]) for name in ("boxes", "masks", "poses"))
  _, top, left, bottom, right = boxes[:, 0].T
  numbers = {
    "count": (boxes[..., 0] >= 0).sum(1), "y": (top + bottom) / 2, "x": (left + right) / 2,
    "size": poses[:, 0, 0], "angle": poses[:, 0, 1],
  }  # fmt: skip
  targets = {"detection": boxes, "segmentation": masks}
  if names:
    targets["regression"] = np.stack([numbers[name] for name in names], 1).astype(np.float32)
  return Split(arrays["x"], targets.pop(first), others=targets)


def _parts(made: Scenes) -> Iterator[tuple[str, Iterator[Rendered]]]:
  """Renders each split of the digits of MNIST's own: no digit of a training scene is in a test scene."""
  splits = read_idx_folder(_MNIST)
  for number, part in enumerate(SPLITS):
    digits = Digits(np.asarray(splits[part].x)[..., 0], splits[part].targets())
    yield part, render(digits, getattr(made, part), made, (made.seed, number))


def _layout(made: Scenes) -> dict[str, dict[str, tuple[str, tuple[int, ...]]]]:
  """{split: {field of Rendered: its dtype and shape}}."""
  most, size = made.objects[1], made.size

  def of(n: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
      "x": ("|u1", (n, size, size, 3 if made.colour else 1)), "boxes": ("<f4", (n, most, 5)),
      "masks": ("|u1", (n, size, size)), "poses": ("<f4", (n, most, 2)), "sources": ("<i4", (n, most)),
    }  # fmt: skip

  return {part: of(getattr(made, part)) for part in SPLITS}
