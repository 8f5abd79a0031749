"""What a bar says: that a program is compiled, and what is left of the metrics where a line is short."""

import io
import re
import sys
import time
import types

import pytest

from sslx.training import progress

METRICS = {"loss": 0.123456, "heldout knn accuracy": 0.987654, "heldout psnr": 22.3456}
LONG = "raw+self_train, 100 labels, subset 2, round 1 of 2"


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


def run(title: str, total: int = 1842) -> None:
  with progress.progress(title, total) as bar:
    bar.begun(1)
    for done in (50, 900, total):
      bar.update(done, METRICS, 1234.0)


def on_terminal(monkeypatch, columns: int, title: str) -> list[str]:
  """The lines that a terminal of so many columns shows one after the other, without colours."""
  screen = Terminal()
  monkeypatch.setattr(sys, "stderr", screen)
  for name, value in {"COLUMNS": columns, "LINES": 24, "TERM": "xterm-256color"}.items():
    monkeypatch.setenv(name, str(value))
  run(title)
  lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", screen.getvalue()))
  return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
@pytest.mark.parametrize("title", ["pretraining denoise", LONG])
def test_count_and_time_left_stay_on_every_terminal(columns, title, monkeypatch):
  lines = on_terminal(monkeypatch, columns, title)
  assert max(map(len, lines)) < columns
  for line in (lines[0], lines[-1]):
    assert re.search(r"━{8,} +\d+/1842 .*[-\d]:[-\d]{2}:[-\d]{2} left$", line), line
  assert lines[-1].startswith(title[: columns - 40])
  assert ["compiling" in line for line in (lines[0], lines[-1])] == [True, False]


@pytest.mark.parametrize(
  ("columns", "text"),
  [
    (60, ""),
    (80, "loss 0.123"),
    (100, "loss 0.123  knn accuracy 0.988"),
    (120, "loss 0.123  knn accuracy 0.988  psnr 22.3"),
    (130, "loss 0.123  knn accuracy 0.988  psnr 22.3  1,234 images/s"),
    (160, "loss 0.1235  heldout knn accuracy 0.9877  heldout psnr 22.35  1,234 images/s"),
  ],
)
def test_metrics_are_shortened_then_left_out_from_the_right(columns, text, monkeypatch):
  line = on_terminal(monkeypatch, columns, "pretraining denoise")[-1]
  assert re.search(r"1842/1842 (.*?) *\d:\d\d:\d\d ", line)[1].strip() == text


def test_a_notebook_has_one_line_of_one_length(monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
  for title in ("pretraining denoise", LONG):
    run(title)
    lines = capsys.readouterr().err.rstrip("\n").split("\r")[1:]
    assert {len(line) for line in lines} == {progress.NOTEBOOK}
    assert len(lines) == 5
    assert [re.search(r"(\d+)/1842", line)[1] for line in lines] == ["0", "1", "50", "900", "1842"]
    assert ["compiling" in line for line in lines] == [True, False, False, False, False]
    assert all(line.rstrip().endswith("s left") for line in lines)


def test_elsewhere_a_line_says_that_it_compiles_and_the_first_result_is_one(monkeypatch, capsys):
  now = [100.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])
  with progress.progress("pretraining denoise", 1842) as bar:
    assert capsys.readouterr().err == "pretraining denoise: compiling\n"
    now[0] += 60  # which are no measure of what is left
    bar.begun(2)
    seen = []
    for step in range(12, 1842, 10):
      now[0] += 1
      bar.update(step, METRICS, 1234.0)
      seen += [(step, line) for line in capsys.readouterr().err.splitlines()]
    bar.update(1842, METRICS, 1234.0)
  assert [step for step, _ in seen[:3]] == [12, 112, 212]
  assert seen[0][1] == (
    "pretraining denoise: 12/1842  loss 0.1235  heldout knn accuracy 0.9877  heldout psnr 22.35  1,234 images/s  "
    "183 s left"
  )
  assert capsys.readouterr().err.startswith("pretraining denoise: 1842/1842  loss")


def test_nothing_is_shown_of_what_nobody_asked_for(capsys):
  for title, total in ((None, 10), ("title", 0)):
    with progress.progress(title, total) as bar:
      bar.begun(1)
      bar.update(5, METRICS, 1.0)
  assert capsys.readouterr().err == ""
