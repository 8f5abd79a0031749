"""Ctrl-C is answered within two seconds, whatever the program does: only the standard library.

Python's own handler runs when the main thread comes back from C++, and XLA may compile for half a minute. The signal
also wakes a thread, which waits a second for the main thread to end by itself, and else ends the process. That is safe:
files are written whole or not at all, a broken last row is dropped, and the kernel lets go of locks. Where steps were
trained that are in no checkpoint (`unsaved`), nothing is cut off: that is said at once, and `sslx.training.loop.fit`
finishes its step and saves. A second Ctrl-C ends the process at once.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from experiments.shared.start import is_program

STATUS = 130  # the exit status of what Ctrl-C ended
KEPT = "interrupted. Finished parts are kept; run the same command to go on."
GRACE = 1.0  # seconds in which the main thread may answer

_answered = threading.Event()  # the main thread is about to say something, and to end
_unsaved = threading.Event()


def stop(number: int, frame: Any) -> None:
  """Ends the process while it imports, which takes seconds: nothing is begun that had to be kept."""
  os.write(2, b"interrupted; nothing was begun.\n")
  os._exit(STATUS)


def stop_at_once() -> None:
  """From here on Ctrl-C is `stop`, in a program.

  Python's own handler is left alone where there is another: Ctrl-C is ignored by what a shell runs in the background.
  It is let through again, where `start.start_again` made it wait.
  """
  if is_program() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop)
  if is_program() and hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def as_usual() -> None:
  """From here on Ctrl-C is KeyboardInterrupt, where it was `stop`."""
  if signal.getsignal(signal.SIGINT) is stop:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def answered() -> Iterator[None]:
  """Within, Ctrl-C is answered as this module says, in a program; others, and what ignores Ctrl-C, are left alone."""
  if not is_program() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
    yield
    return
  reader, writer = socket.socketpair()
  writer.setblocking(False)  # the signal's handler must not wait
  before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
  threading.Thread(target=_watch, args=(reader,), daemon=True).start()
  try:
    yield
  finally:
    _answered.set()
    signal.set_wakeup_fd(before)
    writer.close()


@contextlib.contextmanager
def unsaved() -> Iterator[Callable[[], None]]:
  """Gives a function to call when there is something that would be lost; at the end of the block it is saved."""
  try:
    yield _unsaved.set
  finally:
    _unsaved.clear()


def leave() -> int:
  """The exit status of what Ctrl-C ended. A program ends here: Python would need seconds to take itself apart."""
  if is_program():
    for stream in (sys.stdout, sys.stderr):
      with contextlib.suppress(OSError):  # nobody reads it any more
        stream.flush()
    os._exit(STATUS)
  return STATUS


def _watch(reader: socket.socket) -> None:
  """In a thread of its own: answers every SIGINT that the kernel tells of, until the program's block ends."""
  times = 0
  while number := reader.recv(1):
    times += number[0] == signal.SIGINT
    if number[0] != signal.SIGINT:
      continue
    if times > 1:
      _end("interrupted twice: ended at once. What was saved before is kept; run the same command to go on.")
    if not _unsaved.is_set() and _answered.wait(GRACE):
      continue
    if not _unsaved.is_set():  # it may have become so by now
      _end(KEPT)
    _say("interrupted: this step is finished and saved, then the program ends. Ctrl-C again ends it at once.")


def _end(line: str) -> None:
  _say(line)
  if os.isatty(2):
    os.write(2, b"\033[?25h")  # a progress bar hides the cursor
  os._exit(STATUS)


def _say(line: str) -> None:
  """On stderr, past Python's buffers, which the main thread may hold; on a terminal in place of a progress bar."""
  start = "\r\033[K" if os.isatty(2) else ""
  with contextlib.suppress(OSError):  # the terminal is gone
    os.write(2, f"{start}{line}\n".encode())
