"""A live progress bar on a terminal or in a notebook; elsewhere (logs, CI, a batch queue) a line every ten seconds."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple


class Bar(NamedTuple):
  """What `progress` yields."""

  update: Callable[[int, Mapping[str, float], float], None]
  """(steps done, metrics, images per second)"""


@contextlib.contextmanager
def progress(title: str | None, total: int) -> Iterator[Bar]:
  """Shows steps, loss, images per second and time left on stderr. title None: nothing at all."""
  if title is None or total <= 0:
    yield Bar(lambda done, metrics, speed: None)
  elif sys.stderr.isatty():
    from rich.console import Console
    from rich.progress import (
      BarColumn,
      MofNCompleteColumn,
      Progress,
      TextColumn,
      TimeElapsedColumn,
      TimeRemainingColumn,
    )

    columns = [
      TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[metrics]}"),
      TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    ]  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
      task = bar.add_task(title, total=total, metrics="")
      yield Bar(lambda done, metrics, speed: bar.update(task, completed=done, metrics=_text(metrics, speed)))
  elif "ipykernel" in sys.modules:  # a notebook's output knows carriage returns, and no more of a terminal
    begin = time.monotonic()

    def draw(done: int, metrics: Mapping[str, float], speed: float) -> None:
      full = 30 * done // total
      left = (time.monotonic() - begin) / max(done, 1) * (total - done)
      text = f"{title} {'█' * full}{'░' * (30 - full)} {done}/{total}  {_text(metrics, speed)}  {left:.0f} s left"
      print(f"\r{text:<110}", end="", file=sys.stderr, flush=True)

    yield Bar(draw)
    print(file=sys.stderr)
  else:
    start = last = time.monotonic()

    def line(done: int, metrics: Mapping[str, float], speed: float) -> None:
      nonlocal last
      now = time.monotonic()
      if now - last >= 10 or done == total:
        last = now
        left = (now - start) / max(done, 1) * (total - done)
        print(f"{title}: {done}/{total}  {_text(metrics, speed)}  {left:.0f} s left", file=sys.stderr, flush=True)

    yield Bar(line)


def _text(metrics: Mapping[str, float], speed: float) -> str:
  return "  ".join([*(f"{name} {value:.4g}" for name, value in metrics.items()), f"{speed:,.0f} images/s"])
