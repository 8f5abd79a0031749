"""What happens beside training: logging, saving, watching, showing. See `sslx.training.loop.fit`."""

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from sslx.training.progress import Bar
from sslx.training.watch import Watch
from sslx.types import TrainState

Row = dict[str, Any]
COLLAPSED = 0.1  # embedding_std (see `losses.spread`) below which a run is said to have collapsed


class Hook(NamedTuple):
  """Functions that `fit` calls between steps, on the host; hooks are called in their order."""

  logged: Callable[[TrainState, Row], Row] = lambda ts, row: row
  """(state, row) -> row, every `log_every` steps and at the end. What one hook adds, the next ones see."""
  begun: Callable[[int], None] = lambda steps: None
  """(steps that are done) after the first call of the train step, which compiled it: that takes seconds."""
  due: Callable[[], bool] = lambda: False
  """Whether to `save` now, though the run goes on."""
  save: Callable[[TrainState], None] | None = None
  """Called when `due`, at the end, and on Ctrl-C or SIGTERM; never after a loss that is not finite."""


def log_to(append: Callable[[Row], Any]) -> Hook:
  """Hands each row over."""

  def logged(ts: TrainState, row: Row) -> Row:
    append(row)
    return row

  return Hook(logged)


def save_to(save: Callable[[TrainState], None], seconds: float = 30.0) -> Hook:
  """Saves so often, at the end, and where the run is stopped."""
  saved_at = time.monotonic()

  def due() -> bool:
    return time.monotonic() - saved_at > seconds

  def save_now(ts: TrainState) -> None:
    nonlocal saved_at
    save(ts)
    saved_at = time.monotonic()

  return Hook(due=due, save=save_now)


def watching(watch: Watch, steps: int, log_every: int, times: int = 20) -> Hook:
  """The metrics of `watch` join a row as heldout_NAME about `times` times in a run of `steps`, and at its end."""
  every = log_every * max(1, round(steps / log_every / times))

  def logged(ts: TrainState, row: Row) -> Row:
    if row["step"] % every and row["step"] != steps:
      return row
    return {**row, **{f"heldout_{name}": float(value) for name, value in jax.device_get(watch(ts)).items()}}

  return Hook(logged)


def showing(bar: Bar, first: int) -> Hook:
  """Moves a progress bar, from step `first` on, with the loss and what was watched last."""
  watched: dict[str, float] = {}

  def logged(ts: TrainState, row: Row) -> Row:
    watched.update({n.replace("_", " "): v for n, v in row.items() if n.startswith("heldout_") and n != "heldout_loss"})
    bar.update(row["step"] - first, {"loss": row["loss"], **watched}, row["examples_per_second"])
    return row

  return Hook(logged, begun=bar.begun)


def collapse() -> Hook:
  """Says so, once, where all examples have nearly the same embedding."""
  warned = False

  def logged(ts: TrainState, row: Row) -> Row:
    nonlocal warned
    if not warned and row.get("heldout_embedding_std", 1.0) < COLLAPSED:
      warned = True
      print(
        f"warning: at step {row['step']} all images have nearly the same embedding (spread "
        f"{row['heldout_embedding_std']:.3f}; 1 is even, 0 a point): it has collapsed. Try a lower --learning_rate, a "
        "larger --batch_size, or stronger views.",
        file=sys.stderr,
      )
    return row

  return Hook(logged)
