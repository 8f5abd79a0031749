"""experiments.compare and experiments.autoencoders: several methods in one table, resumable, with shared references."""

import json
import re

import numpy as np
import pytest

from experiments import autoencoders, blocks, compare, pretrain
from experiments.shared import cli as common
from sslx import report
from sslx.report import figures

TINY = ["--encoder=conv:widths=4-6", "--seeds=2", "--labels=12,all", "--smoke"]


def call(main, *arguments: str) -> int:
  return common.run(main, "experiments.compare", ["compare", *arguments])


def directory(out, start="compare-"):
  (found,) = [d for d in out.iterdir() if d.name.startswith(start)]
  return found


def rows_of(run) -> list[dict]:
  return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory):
  out = tmp_path_factory.mktemp("runs")
  arguments = [f"--dataset={toy_npz}", f"--out={out}", *TINY, "--modes=scratch,frozen,knn:3"]
  assert call(compare.main, "--methods=autoencode,rotation", *arguments) == 0
  return out, arguments


def test_references_are_made_once_and_all_labels_once(finished):
  rows = rows_of(directory(finished[0]))
  assert [(r["method"], r["mode"], r["labels"], r["subset_seed"]) for r in rows] == [
    (method, mode, n, seed)
    for method, modes in (
      ("none", ("raw", "random", "scratch")),
      ("autoencode", ("frozen", "knn:3")),
      ("rotation", ("frozen", "knn:3")),
    )
    for n, mode, seed in [(n, m, s) for n in (12, 240) for m in modes for s in ((0, 1) if n == 12 else (0,))]
  ]
  assert len({r["parameters_total"] for r in rows if r["mode"] in ("random", "scratch", "frozen")}) == 1
  assert len({r["encoder"] for r in rows}) == 1


def test_the_page_has_a_table_a_picture_and_every_method(finished):
  run = directory(finished[0])
  page = (run / "report.html").read_text()
  assert {"methods.png", "labels.png"} <= {p.name for p in (run / "figures").iterdir()}
  assert "What it sees" not in page
  for text in ("Methods, 12 labels", "Methods, 240 labels", "Methods: pretraining", "rotation: what it sees and makes"):
    assert text in page
  tables = (run / "tables.md").read_text()
  lines = [line for line in tables.splitlines() if line.startswith("| rotation")]
  mean = np.mean(
    [r["test_accuracy"] for r in rows_of(run) if (r["method"], r["mode"], r["labels"]) == ("rotation", "frozen", 12)]
  )
  assert f"{100 * mean:.1f} ±" in lines[0]
  assert re.search(r"\| rotation .*\| rotation accuracy [0-9.]+ ", tables)
  assert "held-out loss" in tables
  # only a method with a decoder has an error of reconstruction
  header = next(line for line in tables.splitlines() if "squared error" in line).split("|")
  column = [cell.strip() for cell in header].index("squared error")
  cells = [line.split("|") for line in tables.splitlines() if line.count("|") == len(header) - 1]  # of that table
  values = {line[1].strip(): line[column].strip() for line in cells}
  assert 0 < float(values["autoencode"]) < 1
  assert values["rotation"] == ""


def test_one_more_method_trains_only_itself(finished, capfd):
  out, arguments = finished
  before = rows_of(directory(out))
  assert call(compare.main, "--methods=autoencode,simclr,rotation", *arguments) == 0
  after = rows_of(directory(out))
  assert after[: len(before)] == before
  assert {r["method"] for r in after[len(before) :]} == {"simclr"}
  captured = capfd.readouterr()
  assert "pretraining simclr" in captured.err
  assert "pretraining rotation" not in captured.err


def test_what_does_not_fit_is_left_out_and_says_why(toy, tmp_path):
  wide = tmp_path / "wide.npz"
  arrays = {f"{name}_labels": getattr(toy, name).labels for name in ("train", "test")}
  arrays |= {f"{name}_images": getattr(toy, name).images[:, :, :9] for name in ("train", "test")}
  np.savez(wide, **arrays)
  arguments = [f"--dataset=npz:{wide}", f"--out={tmp_path}", *TINY, "--labels=12", "--modes=frozen"]
  assert call(compare.main, "--methods=rotation,autoencode", *arguments) == 0
  tables = (directory(tmp_path) / "tables.md").read_text()
  assert re.search(r"\| rotation .*needs square images, not 12x9", tables)
  assert {r["method"] for r in rows_of(directory(tmp_path))} == {"none", "autoencode"}


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--methods=rotatoin"], "Did you mean 'rotation'"),
    (["--methods="], "--methods=: name at least one"),
    (["--methods=denoise", "--hp=level=0.5"], "--hp: belongs to one method"),
    (["--methods=denoise", "--modes=frozne"], "--modes=frozne"),
  ],
)
def test_bad_input(arguments, message, toy_npz, tmp_path, capsys):
  assert call(compare.main, *arguments, f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY) == 1
  err = capsys.readouterr().err
  assert message in err
  assert len(err.splitlines()) == 1


def test_autoencoders_parts(toy_npz, tmp_path, capsys):
  arguments = [f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY, "--labels=12", "--modes=frozen"]
  assert call(autoencoders.main, "--parts=outputs,corruption", *arguments) == 0
  rows = rows_of(directory(tmp_path, "autoencoders-outputs")) + rows_of(directory(tmp_path, "autoencoders-corruption"))
  levels = {r["method"]: r["pretraining"]["hp"]["level"] for r in rows if r["method"].startswith("level")}
  assert levels == {f"level {level:g}": level for level in autoencoders.LEVELS}
  pairs = {(hp["output"], hp["loss"]) for r in rows if " + " in r["method"] for hp in [r["pretraining"]["hp"]]}
  assert pairs == {("sigmoid", "bce"), ("sigmoid", "mse"), ("linear", "mse")}
  assert call(autoencoders.main, "--parts=famly", *arguments) == 1
  assert "choose among family, outputs, corruption" in capsys.readouterr().err


def test_blocks_are_probed_one_by_one(toy_npz, tmp_path, capsys):
  given = [f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke"]
  assert call(pretrain.main, "--method=rotation", "--encoder=conv:widths=4-6,code=5", *given) == 0
  given += [f"--checkpoint={directory(tmp_path, 'rotation')}", "--labels=12", "--seeds=2", "--modes=frozen,knn:3"]
  assert call(blocks.main, *given) == 0
  run = directory(tmp_path, "blocks")
  rows = rows_of(run)
  found = [(r["method"], r["mode"], r["subset_seed"]) for r in rows]
  names = ("block1", "block2", "code")
  assert found == [(block, mode, s) for block in names for mode in ("random", "frozen", "knn:3") for s in (0, 1)]
  heads = {r["method"]: r["parameters_trainable"] for r in rows if r["mode"] == "frozen"}
  assert heads == {"block1": 3 * (6 * 6 * 4 + 1), "block2": 3 * (3 * 3 * 6 + 1), "code": 3 * (5 + 1)}
  table = (run / "tables.md").read_text().splitlines()
  assert [line.split("|")[1].strip() for line in table if line.startswith("| ")][:4] == ["method", *names]
  assert call(blocks.main, *given) == 0
  assert rows_of(run) == rows
  assert call(blocks.main, *given, "--features=pool") == 0  # beside the former, not instead
  assert len(rows_of(run)) == 2 * len(rows)
  capsys.readouterr()
  assert call(blocks.main, *given, "--modes=full") == 1
  assert "--modes=full: trains the encoder" in capsys.readouterr().err


def summary_of(**accuracies):
  """{"method mode": accuracies of subsets 0, 1, ...} at 100 labels."""
  rows = []
  for name, values in accuracies.items():
    method, mode = name.split("_")
    rows += [
      {
        "method": method,
        "dataset": "d",
        "encoder": "e",
        "labels": 100,
        "mode": mode,
        "subset_seed": s,
        "test_accuracy": a,
      }
      for s, a in enumerate(values)
    ]
  return report.summarise(rows)


def test_methods_cells_put_the_references_where_they_belong():
  summary = summary_of(
    none_raw=[0.5, 0.5], none_random=[0.6, 0.6], none_scratch=[0.7, 0.71], a_frozen=[0.8, 0.81], a_full=[0.6, 0.61],
    b_frozen=[0.7, 0.81],
  )  # fmt: skip
  headers, lines = report.methods_cells(summary, 100)
  assert headers == ["method", "frozen", "full"]
  assert lines == [
    ["raw pixels", "50.0 ± 0.0", ""],
    ["no pretraining", "60.0 ± 0.0", "70.5 ± 0.7"],
    ["a", "80.5 ± 0.7 ↑", "60.5 ± 0.7 ↓"],
    ["b", "75.5 ± 7.8", ""],
  ]
  assert report.methods_cells(summary, 600) == (["method"], [])
  assert report.best(summary) == [
    "80.5%: a frozen: +10.0 points over scratch at 100 labels, 95% CI [+10.0, +10.0]: better."
  ]
  heads = [entry for entry in summary if entry["mode"] != "full"]  # scratch has its column all the same
  assert report.methods_cells(heads, 100)[0] == ["method", "frozen", "full"]


def test_methods_are_held_against_a_random_encoder():
  rows = [
    {
      "method": m,
      "dataset": "d",
      "encoder": "e",
      "labels": n,
      "mode": mode,
      "subset_seed": s,
      "test_accuracy": a + s / 50,
    }
    for m, mode, a in [("none", "random", 0.6), ("none", "scratch", 0.2), ("a", "frozen", 0.7), ("b", "frozen", 0.5)]
    for n in (10, 100)
    for s in (0, 1, 2)
  ]
  extra = {"method": "c", "dataset": "d", "encoder": "e", "labels": 100, "mode": "frozen"}
  rows += [{**extra, "subset_seed": s, "test_accuracy": a} for s, a in enumerate([0.6, 0.7, 0.55])]
  rows += [{**extra, "method": "c", "mode": "full", "subset_seed": 0, "test_accuracy": 0.9}]
  said = report.against(rows, "random")
  assert said == {
    10: "Frozen against random at 10 labels, in points: better: a (+10.0); worse: b (-10.0).",
    100: "Frozen against random at 100 labels, in points: better: a (+10.0); no measurable difference: c (-0.3); "
    "worse: b (-10.0).",
  }


def test_method_dots_draw_means_and_references():
  summary = summary_of(none_raw=[0.5], none_scratch=[0.7], a_frozen=[0.8, 0.9], b_frozen=[0.6, 0.7])
  (ax,) = [a for a in figures.method_dots(summary).axes if a.axison]
  lines = {tuple(round(float(x), 3) for x in line.get_xdata()) for line in ax.lines}
  assert {(50.0, 50.0), (70.0, 70.0), (85.0,), (65.0,)} <= lines
  assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
