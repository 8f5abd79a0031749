"""Whether a run is long enough: how long it is, in words, and what its history says of it at its end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sslx.training.config import steps_of_epoch

LATE_SHARE = 0.16  # of a metric's rise in the second half of a run, from which it is steep
LEAST_RISE = {"accuracy": 0.02, "psnr": 0.1}  # in that half, below which it is noise; by the end of a metric's name
FEWEST = 6  # watched rows that a rise is read off
NEAR_CHANCE = 0.1  # of the way from guessing to always being right
ADVERSARIES = ("discriminator_accuracy",)  # that get worse as the method gets better


def told(steps: int, batch_size: int, n: int) -> str:
  """`1,842 steps of 64, 2 epochs of 59,000 examples`: steps of an epoch of n examples."""
  epochs = steps / steps_of_epoch(n, batch_size)
  text = f"{epochs:,.0f}" if epochs >= 100 else f"{epochs:.3g}"
  return f"{steps:,} steps of {batch_size}, {text} epoch{'' if text == '1' else 's'} of {n:,} examples"


def doubts(history: Sequence[Mapping[str, Any]], steps: int, chance: Mapping[str, float]) -> list[str]:
  """One sentence on each watched metric that still rises steeply at the end of a run, or is near guessing.

  history: rows of metrics.jsonl, those of the held-out examples as heldout_NAME; steps: of the whole run;
  chance: metric -> its value for guesses.
  A rate that falls like a cosine flattens every curve, also of a run that is too short: the second half of the run has
  18% of the sum of its learning rates. So a rise is steep where that half brings about as large a share of all of it.
  With the default steps it brought at most 14% where the method had come to rest (denoise, inpaint, rotation, simclr
  and vicreg on 7,000 images of MNIST and Fashion-MNIST), with 218 steps 15% to 33%.
  """
  watched = [row for row in history if "heldout_loss" in row]
  if not watched or watched[-1]["step"] != steps:
    return []
  names = [name.removeprefix("heldout_") for name in watched[-1] if name.startswith("heldout_")]
  sentences = []
  for name in names:
    last = watched[-1][f"heldout_{name}"]
    if name in chance and last - chance[name] < NEAR_CHANCE * (1 - chance[name]):
      sentences.append(
        f"{_words(name)} ends at {last:.3g}, and guessing gives {chance[name]:.3g}: it has hardly learnt its task. Try "
        "more --steps, another --learning_rate or an easier task (--hp)."
      )
      continue
    before = _late_rise(name, [(row["step"], row[f"heldout_{name}"]) for row in watched if f"heldout_{name}" in row])
    if before is not None:
      sentences.append(
        f"{_words(name)} still rises steeply, from {before:.3g} halfway to {last:.3g} at the end: more --steps than "
        f"{steps:,} will probably help."
      )
  return sentences


def _late_rise(name: str, series: Sequence[tuple[int, float]]) -> float | None:
  """The value halfway, where what came after is a large part of the rise; None where it is not."""
  least = next((least for end, least in LEAST_RISE.items() if name.endswith(end)), None)
  if least is None or name in ADVERSARIES or len(series) < FEWEST:
    return None
  steps, values = zip(*series, strict=True)
  half = float(np.interp(steps[-1] / 2, steps, values))
  late = values[-1] - half
  return half if late >= least and late > LATE_SHARE * (values[-1] - min(values)) else None


def _words(name: str) -> str:
  """`The watched rotation accuracy`."""
  return f"the watched {name.replace('_', ' ')}"
