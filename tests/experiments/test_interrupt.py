"""Ctrl-C is answered while C++ holds the main thread, nothing that is unsaved is lost, and others are left alone."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.shared import cli, interrupt
from sslx.training import loop

ROOT = Path(cli.__file__).parents[2]
# A program whose `main` is what is asked here. It looks like `python -m experiments.low_label`, started by launch.sh.
PROGRAM = """
import sys
sys.orig_argv = ["python", "-m", "experiments.low_label"]
import hashlib, signal, time
from experiments.shared import cli, interrupt

def say(line):
  print(line, file=sys.stderr, flush=True)

def compile():  # the main thread is in C for a quarter of an hour, as in XLA, where no handler of Python's can run
  signal.signal(signal.SIGINT, lambda *signal: None)  # nor just before
  say("held")
  hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

def main():
{body}
raise SystemExit(cli.run(main, "experiments.low_label", ["low_label"]))
"""


@contextmanager
def program(*body: str) -> Iterator[tuple[subprocess.Popen, Iterator[str]]]:
  """(the process, the lines of its stderr from `held` on)."""
  code = PROGRAM.format(body="".join(f"  {line}\n" for line in body))
  # What a shell runs in the background, as these tests may be, ignores SIGINT, and so would its children.
  start = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"
  command = [sys.executable, "-c", start, sys.executable, "-c", code]
  environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLIBC_TUNABLES": ""}
  with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
    assert process.stderr
    lines = map(str.strip, process.stderr)
    before, late = [], threading.Timer(300, process.kill)
    late.start()
    for line in lines:
      if line == "held":
        break
      before.append(line)
    try:
      yield process, lines
    finally:
      late.cancel()
      process.kill()
    assert len(before) == 1, before  # the first line, and no more


@pytest.mark.parametrize(
  "body",
  [
    ["compile()"],
    ["with interrupt.unsaved() as trained:", "  trained()", "compile()"],
    ["say('held')", "time.sleep(3600)"],
  ],
  ids=["while a program is compiled", "what is saved is not waited for", "the main thread answers where it can"],
)
def test_a_program_ends_where_nothing_is_unsaved(body):
  with program(*body) as (process, lines):
    process.send_signal(signal.SIGINT)
    assert list(lines) == [interrupt.KEPT]
    assert process.wait() == 130


def test_what_is_not_saved_is_saved_first():
  body = [
    "seen = []",
    "signal.signal(signal.SIGINT, lambda *signal: seen.append(signal))",  # as `fit`, within
    "with interrupt.unsaved() as trained:",
    "  trained()",
    "  say('held')",
    "  while not seen: time.sleep(0.01)",
    "  time.sleep(3 * interrupt.GRACE)",
    "  say('saved')",
    "raise KeyboardInterrupt",
  ]
  with program(*body) as (process, lines):
    process.send_signal(signal.SIGINT)
    assert next(lines).startswith("interrupted: this step is finished and saved")
    assert list(lines) == ["saved", interrupt.KEPT]
    assert process.wait() == 130


def test_the_second_one_ends_it_at_once():
  with program("with interrupt.unsaved() as trained:", "  trained()", "  compile()") as (process, lines):
    process.send_signal(signal.SIGINT)
    assert next(lines).startswith("interrupted: this step is finished and saved")
    process.send_signal(signal.SIGINT)
    (line,) = lines
    assert line.startswith("interrupted twice: ended at once.")
    assert process.wait() == 130


def test_sigterm_is_no_ctrl_c():
  """It ends the process by itself, where nobody handles it; a handler is called when the main thread is back."""
  body = [
    "seen = []",
    "signal.signal(signal.SIGTERM, lambda *signal: seen.append(signal))",
    "say('held')",
    "while not seen: time.sleep(0.01)",
    "time.sleep(3 * interrupt.GRACE)",
    "say('handled')",
  ]
  with program(*body) as (process, lines):
    process.send_signal(signal.SIGTERM)
    assert list(lines) == ["handled"]
    assert process.wait() == 0


@pytest.mark.parametrize("ignored", [False, True])
def test_others_are_left_alone(ignored, monkeypatch):
  """A notebook that calls an experiment, and a program in the background of a shell, which ignores Ctrl-C."""
  if ignored:
    monkeypatch.setattr(interrupt, "is_program", lambda: True)
  old = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
  try:
    with interrupt.answered():
      assert signal.set_wakeup_fd(-1) == -1
  finally:
    signal.signal(signal.SIGINT, old)


@pytest.mark.parametrize(("saved", "kept"), [(True, "the checkpoint is saved"), (False, "finished parts are kept")])
def test_a_stopped_training_says_what_is_kept(saved, kept, capsys):
  """Of a classifier there is no checkpoint."""

  def main():
    raise loop.Interrupted(3, 12, signal.SIGINT, None, saved)

  assert cli.run(main, "experiments.low_label", ["low_label"]) == 130
  assert capsys.readouterr().err == f"stopped at step 3 of 12; {kept}. Run the same command to go on.\n"
