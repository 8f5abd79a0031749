"""A live progress bar on a terminal or in a notebook; elsewhere (logs, CI, a batch queue) a line every ten seconds."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

NOTEBOOK = 110  # characters of a line in a notebook
EVERY = 10.0  # seconds between lines where there is no bar
BARS = {0: 8, 80: 12, 140: 30}  # characters of the bar on a terminal with so many columns or more
ELAPSED = 100  # columns from which on there is room for the time that has passed
COMPILING = "compiling"


class Bar(NamedTuple):
  """What `progress` yields."""

  begun: Callable[[int], None]
  """(steps done): the first ones are; until then it says `compiling`."""
  update: Callable[[int, Mapping[str, float], float], None]
  """(steps done, metrics, images per second)"""


@contextlib.contextmanager
def progress(title: str | None, total: int) -> Iterator[Bar]:
  """Shows steps, loss, images per second and time left on stderr. title None: nothing at all.

  Where a line is short, the metrics go first, the last of them before the others; count and time left stay.
  """
  if title is None or total <= 0:
    yield Bar(lambda done: None, lambda done, metrics, speed: None)
  elif sys.stderr.isatty():
    with _on_terminal(title, total) as bar:
      yield bar
  elif "ipykernel" in sys.modules:  # a notebook's output knows carriage returns, and no more of a terminal
    yield _in_notebook(title, total)
    print(file=sys.stderr)
  else:
    yield _in_lines(title, total)


@contextlib.contextmanager
def _on_terminal(title: str, total: int) -> Iterator[Bar]:
  from rich.console import Console
  from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

  print(end="\033[K", file=sys.stderr)  # what is on this line may be longer than the bar
  console = Console(stderr=True)
  wide = console.width >= ELAPSED
  width = max(length for columns, length in BARS.items() if console.width >= columns)
  columns = [
    TextColumn("{task.fields[title]}", markup=False), BarColumn(width), MofNCompleteColumn(),
    TextColumn("{task.fields[metrics]}", markup=False), *([TimeElapsedColumn()] if wide else []),
    TimeRemainingColumn(), TextColumn("left"),
  ]  # fmt: skip
  count, times = 2 * len(str(total)) + 1, 12 + 8 * wide  # `0:01:23 left`, and the time that has passed
  fixed = width + count + times + 3  # and the spaces between them
  with Progress(*columns, console=console) as bar:
    room = console.width - fixed - 2  # for title and metrics
    short = _shortened(title, room - len(COMPILING))
    task = bar.add_task("", start=False, total=total, title=short, metrics=COMPILING)

    def begun(done: int) -> None:
      bar.start_task(task)
      bar.update(task, completed=done, metrics="")

    def update(done: int, metrics: Mapping[str, float], speed: float) -> None:
      room = console.width - fixed - 2  # a window may have another size now
      short = _shortened(title, room)
      bar.update(task, completed=done, title=short, metrics=_text(metrics, speed, room - len(short)))

    yield Bar(begun, update)


def _in_notebook(title: str, total: int) -> Bar:
  clock = _Clock(total)

  def draw(done: int, text: Callable[[int], str], least: int = 0) -> None:
    full = 30 * done // total
    start = f"{'█' * full}{'░' * (30 - full)} {done}/{total}"
    left = f"{clock.left(done)} s left"
    room = NOTEBOOK - len(start) - len(left) - 5
    short = _shortened(title, room - least)
    line = f"{short} {start}  {text(room - len(short))}  {left}"
    print(f"\r{line:<{NOTEBOOK}}", end="", file=sys.stderr, flush=True)

  def begun(done: int) -> None:
    clock.begin(done)
    draw(done, lambda room: "")

  draw(0, lambda room: COMPILING, len(COMPILING))
  return Bar(begun, lambda done, metrics, speed: draw(done, lambda room: _text(metrics, speed, room)))


def _in_lines(title: str, total: int) -> Bar:
  clock, last = _Clock(total), -EVERY

  def line(done: int, metrics: Mapping[str, float], speed: float) -> None:
    nonlocal last
    now = time.monotonic() - clock.start
    if now - last >= EVERY or done == total:
      last = now
      text = f"{title}: {done}/{total}  {_text(metrics, speed)}  {clock.left(done)} s left"
      print(text, file=sys.stderr, flush=True)

  print(f"{title}: {COMPILING}", file=sys.stderr, flush=True)
  return Bar(clock.begin, line)


class _Clock:
  """How long the rest takes, if it goes on as it did since the first steps."""

  def __init__(self, total: int):
    self.total, self.done, self.start = total, 0, time.monotonic()

  def begin(self, done: int) -> None:
    """What was compiled is no measure of what follows."""
    self.done, self.start = done, time.monotonic()

  def left(self, done: int) -> str:
    """In seconds; `?` while nothing is known."""
    if done == self.total:
      return "0"
    since = done - self.done
    return f"{(time.monotonic() - self.start) / since * (self.total - done):.0f}" if since > 0 else "?"


def _text(metrics: Mapping[str, float], speed: float, room: int | None = None) -> str:
  """The metrics and the speed; in `room` characters with shorter names and numbers, as many as there is room for."""
  full = [*(f"{name} {value:.4g}" for name, value in metrics.items()), f"{speed:,.0f} images/s"]
  if room is None or len("  ".join(full)) <= room:
    return "  ".join(full)
  short = [f"{name.removeprefix('heldout ')} {value:.3g}" for name, value in metrics.items()]
  return _fitting([*short, full[-1]], room)


def _fitting(items: list[str], room: int) -> str:
  """As many of the first items as there is room for."""
  kept = items
  while kept and len("  ".join(kept)) > room:
    kept = kept[:-1]
  return "  ".join(kept)


def _shortened(title: str, room: int) -> str:
  return title if len(title) <= room else f"{title[: max(room - 1, 0)]}…"
