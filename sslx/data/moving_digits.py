"""The data set `moving_digits`: clips of digits of MNIST that move over a background, and masks of the digits.

Clips are rendered once by `sslx.data.motion`. `sslx.data.kept` keeps them in data_dir. Only clips for validation and
test have masks: those for training come without, as pretraining has no labels.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sslx import options
from sslx.data.digits import Digits, dealt
from sslx.data.idx import read_idx_folder
from sslx.data.kept import kept
from sslx.data.lazy import LazyArray, Rows
from sslx.data.motion import RENDERER, MovingDigits, Rendered, render
from sslx.data.settings import check_ranges, with_ranges
from sslx.data.types import Dataset, Request, Video, clips
from sslx.types import UserError

LARGEST = 16 << 30  # bytes of all clips and masks
LIMITS: dict[str, tuple[float, float]] = {
  "size": (24, 512), "frames": (2, 256), "objects": (1, 9), "digits": (6, 512), "speed": (0, 16), "degrees": (0, 45),
  "drift": (0, 4), "noise": (0, 1), "seed": (0, math.inf), "train": (1, math.inf), "validation": (1, math.inf),
  "test": (1, math.inf),
}  # fmt: skip
SPLITS = {"train": "train", "validation": "train", "test": "test"}  # and the split of MNIST that its digits are of
_MNIST = Path(__file__).parent / "mnist"


def settings(spec: str) -> MovingDigits:
  """The settings that a name such as `moving_digits:size=96,objects=1` stands for.

  Raises:
    UserError: an unknown setting (with the nearest names), or a value out of range.
  """
  scheme, _, argument = spec.partition(":")
  texts = [text for text in argument.split(",") if text]
  values = options.parse(MovingDigits, texts, f"--dataset={scheme}:")
  made = MovingDigits(**with_ranges(spec, values, ("objects", "digits")))
  check_ranges(spec, made, LIMITS)
  room = math.ceil(1.25 * made.digits[1])
  if room > made.size:
    raise UserError(
      f"--dataset={spec}: size={made.size} is too small for digits of {made.digits[1]} pixels to move in, which need "
      f"size={room}; make it larger, or digits smaller: digits=MIN-MAX"
    )
  weight = _bytes(made)
  if weight > LARGEST:
    raise UserError(
      f"--dataset={spec}: that is {weight / 2**30:.0f} GB of clips, more than {LARGEST >> 30}; "
      "make size, frames or train smaller"
    )
  return made


def _bytes(made: MovingDigits) -> int:
  return made.frames * made.size**2 * (3 * made.train + 4 * (made.validation + made.test))


def load_moving_digits(request: Request) -> Dataset:
  """Clips u8 [N,T,H,W,3] without labels, and whole videos with masks for validation and test.

  Raises:
    UserError: settings that are wrong, or a data_dir that the user named and that cannot be written.
  """
  made = settings(request.spec)
  for flag, cure in (("frames", "frames={}"), ("stride", "speed=PIXELS"), ("size", "size={}")):
    if (value := getattr(request, flag)) is not None:
      shown = "x".join(map(str, value)) if isinstance(value, tuple) else value
      joint = "," if request.argument else "" if request.spec.endswith(":") else ":"
      raise UserError(
        f"--{flag}={shown}: clips of moving digits are rendered as their settings say; write "
        f"--dataset={request.spec}{joint}{cure.format(min(value) if isinstance(value, tuple) else value)}"
      )
  arrays = kept(
    request,
    "sslx_moving_digits",
    {"renderer": RENDERER, "settings": vars(made)},
    _layout(made),
    lambda: _parts(made),
    _bytes(made),
  )
  videos = {part: _videos(part, arrays[part]) for part in ("test", "validation")}
  return clips(request.spec, arrays["train"]["x"], videos, arrays["test"]["x"])


def _videos(part: str, arrays: dict[str, Rows]) -> list[Video]:
  x, masks = arrays["x"], arrays["masks"]
  known = np.ones(x.shape[1], bool)
  return [Video(f"{part}-{i:03d}", _frames(x, i), np.asarray(masks[i]), known) for i in range(len(x))]


def _frames(x: Rows, i: int) -> Rows:
  """x[i], lazy where x is."""
  if isinstance(x, np.ndarray):
    return x[i]
  return LazyArray(x.shape[1:], lambda rows: x[i][rows], x.dtype, parents=(x,), how=f"row {i}")


def _parts(made: MovingDigits) -> Iterator[tuple[str, Iterator[Rendered]]]:
  """Renders each split of digits that are in no other: those for test are of MNIST's own, those for validation are what
  training leaves."""
  splits = read_idx_folder(_MNIST)
  for number, (part, source) in enumerate(SPLITS.items()):
    digits = Digits(np.asarray(splits[source].x)[..., 0], splits[source].targets())
    rows = _left(len(digits.images), made) if part == "validation" else np.arange(len(digits.images))
    used = Digits(digits.images[rows], digits.labels[rows])
    yield part, (_of(rows, piece) for piece in render(used, getattr(made, part), made, (made.seed, number)))


def _left(count: int, made: MovingDigits) -> np.ndarray:
  """Which of `count` digits no training clip shows; all where too few are left for validation."""
  most = made.objects[1]
  dealt_to_train = itertools.islice(dealt(count, (made.seed, 0)), made.train * most)
  left = np.setdiff1d(np.arange(count), np.fromiter(dealt_to_train, np.int64))
  return left if len(left) >= made.validation * most else np.arange(count)


def _of(rows: np.ndarray, rendered: Rendered) -> Rendered:
  """The same clips; their sources are places in all digits, of which those of `rows` were rendered."""
  return rendered._replace(sources=np.where(rendered.sources < 0, -1, rows[rendered.sources]).astype(np.int32))


def _layout(made: MovingDigits) -> dict[str, dict[str, tuple[str, tuple[int, ...]]]]:
  """{split: {field of Rendered that is kept: its dtype and shape}}."""
  form = (made.frames, made.size, made.size)

  def of(n: int, has_masks: bool) -> dict[str, tuple[str, tuple[int, ...]]]:
    masks = {"masks": ("|u1", (n, *form))} if has_masks else {}
    return {"x": ("|u1", (n, *form, 3)), **masks, "sources": ("<i4", (n, made.objects[1]))}

  return {part: of(getattr(made, part), part != "train") for part in SPLITS}
