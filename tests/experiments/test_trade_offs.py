"""experiments.freezing, assignment and data_efficiency: rows, words and figures; and who wins a table by how much."""

import json

import numpy as np
import pytest
import sslx.compare
from helpers import directory, rows_of, tasks_of

from experiments import assignment, data_efficiency, freezing
from experiments.shared import cli as common
from sslx import report
from sslx.report import readings
from sslx.report.figures import blocks as figures_blocks

MAINS = {"freezing": freezing.main, "assignment": assignment.main, "data_efficiency": data_efficiency.main}
TINY = ["--encoder=conv:widths=4-6", "--seeds=2", "--smoke"]


def call(name: str, *arguments: str) -> int:
  return common.run(MAINS[name], f"experiments.{name}", [name, *arguments])


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
  for name, own in arguments.items():
    assert call(name, *own) == 0
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
    (m, mode, n, s) for m, own in modes.items() for n in (12, 240) for mode in own for s in range(2 if n == 12 else 1)
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


@pytest.mark.parametrize("name", MAINS)
def test_the_same_command_again_trains_nothing(finished, name, monkeypatch):
  out, arguments = finished
  before = (directory(out, name) / "results.jsonl").read_bytes()
  monkeypatch.setattr(sslx.compare, "train_classifiers", None)
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
  assert "--at=" in capsys.readouterr().out
  assert call("freezing", "--help") == 0
  assert "--at=" not in capsys.readouterr().out


def entry(mode: str, accuracies: list[float], trainable: int = 1) -> dict:
  shared = {"method": "m", "dataset": "d", "encoder": "e", "mode": mode, "labels": 10, "parameters_total": 9}
  rows = [
    {**shared, "subset_seed": s, "test_accuracy": a, "parameters_trainable": trainable}
    for s, a in enumerate(accuracies)
  ]
  return report.summarise(rows)[0]


def test_ranking_pairs_by_subset():
  entries = [entry("a", [0.5, 0.6, 0.7]), entry("b", [0.6, 0.7, 0.8]), entry("c", [0.9, 0.2, 0.7])]
  best, second, third = readings.ranking(entries, lambda e: e["mode"], 100)
  assert (best.name, best.behind, best.low, best.high, best.level) == ("b", 0.0, None, None, True)
  assert second.name in "ac"
  by_name = {one.name: one for one in (second, third)}
  assert by_name["a"].behind == pytest.approx(-0.1)
  assert (by_name["a"].low, by_name["a"].high) == pytest.approx((-0.1, -0.1))  # the same in every subset
  assert not by_name["a"].level
  differences = np.array([0.3, -0.5, -0.1])
  half = 4.302653 * differences.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom
  assert by_name["c"].low == pytest.approx(differences.mean() - half, rel=1e-5)
  assert by_name["c"].level
  words = readings.reading("m, 10 labels", [best, *sorted((second, third), key=lambda one: one.name)])
  assert words == (
    "m, 10 labels: b is the best, 70.0%; no measurable difference to c (-10.0 [-109.4, +89.4]); "
    "behind it a (-10.0 [-10.0, -10.0])."
  )


def test_ranking_of_one_training_each_is_by_the_test_images():
  one, other = readings.ranking([entry("a", [0.98]), entry("b", [0.99])], lambda e: e["mode"], 10_000)
  error = np.sqrt((0.98 * 0.02 + 0.99 * 0.01) / 10_000)
  assert (one.name, other.name) == ("b", "a")
  assert (other.low, other.high) == pytest.approx((-0.01 - 1.96 * error, -0.01 + 1.96 * error))
  assert not other.level
  assert readings.ranking([entry("a", [0.98]), entry("b", [0.99])], lambda e: e["mode"], 100)[1].level


def test_of_equals_the_one_that_trains_less_wins():
  assert [
    one.name for one in readings.ranking([entry("a", [0.5], 7), entry("b", [0.5], 3)], lambda e: e["mode"], 9)
  ] == ["b", "a"]


def test_trained_blocks_draws_a_line_a_number_of_labels_and_fills_the_best():
  shared = {"dataset": "d", "encoder": "e", "subset_seed": 0}
  rows = [
    {**shared, "method": method, "mode": mode, "labels": n, "test_accuracy": accuracy}
    for method, mode, n, accuracy in [
      ("m", "frozen", 10, 0.7), ("m", "last:1", 10, 0.6), ("m", "full", 10, 0.5), ("none", "scratch", 10, 0.4),
      ("m", "frozen", 99, 0.7), ("m", "last:1", 99, 0.8), ("m", "full", 99, 0.9), ("none", "random", 99, 0.2),
    ]
  ]  # fmt: skip
  (ax,) = figures_blocks.trained_blocks(report.summarise(rows), {"frozen": 0, "last:1": 1, "full": 2}).axes
  lines = [[(round(float(x), 1), round(float(y), 1)) for x, y in line.get_xydata()] for line in ax.lines]
  assert [(0, 70), (1, 60), (2, 50)] in lines
  assert [(0, 70), (1, 80), (2, 90)] in lines
  assert [(0, 70)] in lines  # the best with 10 labels
  assert [(2, 90)] in lines  # and with 99
  assert [(2.7, 40)] in lines  # scratch, apart
  assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "all 2", "scratch"]
