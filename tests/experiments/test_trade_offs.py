"""experiments.freezing, assignment and data_efficiency: rows, words and figures."""

import json

import numpy as np
import pytest
from helpers import call, directory, rows_of, tasks_of

from sslx.evaluation import evaluate

NAMES = ("freezing", "assignment", "data_efficiency")
TINY = ["--encoder=conv:widths=4-6", "--seeds=2", "--smoke"]


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory):
  """All three, once: (--out, their arguments)."""
  out = tmp_path_factory.mktemp("runs")
  given = [f"--dataset={toy_npz}", f"--out={out}", *TINY]
  arguments = {
    "freezing": [*given, "--methods=denoise", "--labels=12,24"],
    "assignment": [*given, "--methods=denoise,rotation", "--labels=12,all"],
    "data_efficiency": [*given, "--methods=denoise"],
  }
  for name, flags in arguments.items():
    assert call(name, *flags) == 0
  return out, arguments


def test_freezing_trains_every_number_of_blocks(finished):
  rows = rows_of(directory(finished[0], "freezing"))
  assert tasks_of(rows) == [
    *(("none", mode, n, s) for n in (12, 24) for mode in ("raw", "random", "scratch") for s in (0, 1)),
    *(("denoise", mode, n, s) for n in (12, 24) for mode in ("frozen", "last:1", "full") for s in (0, 1)),
  ]
  trained = {r["mode"]: r["parameters_trainable"] for r in rows}
  assert trained["frozen"] < trained["last:1"] < trained["full"] == trained["scratch"]
  assert len({r["parameters_total"] for r in rows if r["mode"] != "raw"}) == 1


def test_assignment_compares_methods_and_the_supervised_network(finished):
  rows = rows_of(directory(finished[0], "assignment"))
  modes = {
    m: ("raw", "random", "scratch") if m == "none" else ("frozen", "last:1", "full")
    for m in ("none", "denoise", "rotation")
  }
  assert tasks_of(rows) == [
    (m, mode, n, s)
    for m, names in modes.items()
    for n in (12, 240)
    for mode in names
    for s in range(2 if n == 12 else 1)
  ]
  page = (directory(finished[0], "assignment") / "tables.md").read_text()
  total = next(r["parameters_total"] for r in rows if r["mode"] == "full")
  assert f"Every network has {total:,} parameters" in page
  for start in (
    "denoise, 12 labels: ",
    "rotation, 240 labels: ",
    "All methods, 12 labels: ",
    "All methods, 240 labels: ",
  ):
    (line,) = [line for line in page.splitlines() if line.startswith(f"- {start}")]
    mine = [r for r in rows if f"{r['labels']} labels" in start and r["mode"] not in ("raw", "random")
            and (start.startswith("All") or r["method"] in (start.partition(",")[0], "none"))]  # fmt: skip
    means = {}
    for r in mine:
      means.setdefault((r["method"], r["mode"]), []).append(r["test_accuracy"])
    assert f" is the best, {100 * max(map(np.mean, means.values())):.1f}%" in line


def test_data_efficiency_takes_the_fractions_that_hold_every_class(finished):
  run = directory(finished[0], "data_efficiency")
  assert sorted({r["labels"] for r in rows_of(run)}) == [7, 24, 240]  # 3%, 10% and all of 240; 1% is no image a class
  assert (run / "figures/labels.png").exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_command_again_trains_nothing(finished, name, monkeypatch):
  out, arguments = finished
  before = (directory(out, name) / "results.jsonl").read_bytes()
  monkeypatch.setattr(evaluate, "train", None)
  assert call(name, *arguments[name]) == 0
  assert (directory(out, name) / "results.jsonl").read_bytes() == before
  command = json.loads(before.splitlines()[-1])["command"].split()[3:]
  assert call(name, *command) == 0  # and so does the command that its rows name
  assert (directory(out, name) / "results.jsonl").read_bytes() == before


@pytest.mark.parametrize(
  ("name", "arguments", "message"),
  [
    ("assignment", ["--methods=denoise"], "--methods=denoise: name at least two"),
    ("assignment", ["--method=denoise"], "--method, --checkpoint: several methods"),
    ("freezing", ["--methods=denose"], "Did you mean 'denoise'"),
    ("data_efficiency", ["--methods=denoise", "--at=5"], "--at=5: name one of --labels: 7, 24, 240"),
  ],
)
def test_bad_input_is_one_line(name, arguments, message, toy_npz, tmp_path, capsys):
  assert call(name, f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY, *arguments) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert message in line
  assert not list(tmp_path.iterdir())


def test_help_has_the_flags_of_the_curve(capsys):
  assert call("data_efficiency", "--help") == 0
  assert "--at " in capsys.readouterr().out
  assert call("freezing", "--help") == 0
  assert "--at " not in capsys.readouterr().out
