"""What a transfer goes to: data sets that an encoder which was made for another one can read."""

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.shared import runs
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.data import Dataset


def target_names(parts: Sequence[str]) -> list[str]:
  """The data sets that --targets names, each once. Settings have commas too: `scenes:one`, then `size=32`.

  Raises:
    UserError: there is none.
  """
  names: list[str] = []
  for part in map(str.strip, parts):
    if names and re.fullmatch(r"\w+=[^:]*", part):
      names[-1] += f",{part}"
    elif part:
      names.append(part)
  if not names:
    raise UserError("--targets is missing: name at least one data set, such as --targets=fashion_mnist.")
  return list(dict.fromkeys(names))


def load_targets(specs: Sequence[str], source: "Dataset", any_size: bool, match_channels: bool) -> "list[Dataset]":
  """The data sets, each as `fitted` makes it.

  Raises:
    UserError: as `fitted`, and where they have different scores, which no table holds.
  """
  targets = [fitted(runs.load_dataset(spec), source, any_size, match_channels) for spec in specs]
  first = targets[0]
  other = next((target for target in targets if target.task.score != first.task.score), None)
  if other is not None:
    raise UserError(
      f"--targets={','.join(specs)}: the score of {first.name} is {first.task.score.name}, of {other.name} "
      f"{other.task.score.name}; name targets of one task, or by --task one that all of them have."
    )
  return targets


def fitted(target: "Dataset", source: "Dataset", any_size: bool, match_channels: bool) -> "Dataset":
  """One of --targets, made such that an encoder that was made for `source` takes its images.

  any_size: whether it takes other heights and widths. match_channels: whether the target's channels may be converted.

  Raises:
    UserError: its images are of another shape than the encoder takes, or it is of another modality.
  """
  from sslx.data.images import with_channels

  kinds = target.modality.name, source.modality.name
  if kinds != ("image", "image"):
    raise UserError(f"--targets={target.name}: transfer is from images to images, not from {kinds[1]} to {kinds[0]}.")
  shape, (*size, channels) = source.x_shape, target.x_shape
  if channels != shape[2]:
    kind = {1: "grey", 3: "in colour"}
    if not match_channels:
      raise UserError(
        f"--targets={target.name}: its images are {kind[channels]}, the source's {kind[shape[2]]}; "
        "--match_channels converts the target's."
      )
    parts = {name: split for name in ("train", "test", "unlabeled") if (split := getattr(target, name)) is not None}
    limit = FLAGS.in_memory_limit
    target = dataclasses.replace(target, **{n: with_channels(split, shape[2], limit) for n, split in parts.items()})
  if tuple(size) != shape[:2] and not any_size:
    raise UserError(
      f"--targets={target.name}: its images are {size[0]}x{size[1]}, --encoder={FLAGS.encoder} was made for "
      f"{shape[0]}x{shape[1]} and takes no other; try --image_size={shape[0]}, or --encoder=conv."
    )
  return target
