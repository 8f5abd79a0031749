"""experiments.compare: several methods in one table, resumable, with shared references."""

import re

import numpy as np
import pytest
from helpers import call, directory, rows_of, tasks_of

from sslx.types import UserError

TINY = ["--encoder=conv:widths=4-6", "--seeds=2", "--labels=12,all", "--smoke"]


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory):
  out = tmp_path_factory.mktemp("runs")
  arguments = [f"--dataset={toy_npz}", f"--out={out}", *TINY, "--modes=scratch,frozen,knn:3"]
  assert call("compare", "--methods=autoencode,rotation", *arguments) == 0
  return out, arguments


def test_references_are_made_once_and_all_labels_once(finished):
  rows = rows_of(directory(finished[0], "compare-"))
  assert tasks_of(rows) == [
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
  run = directory(finished[0], "compare-")
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
  assert "held-out feature rank" in tables  # in a column of its own: it is no metric of the method
  # only a method with a decoder has an error of reconstruction
  header = next(line for line in tables.splitlines() if "squared error" in line).split("|")
  column = [cell.strip() for cell in header].index("squared error")
  cells = [line.split("|") for line in tables.splitlines() if line.count("|") == len(header) - 1]  # of that table
  values = {line[1].strip(): line[column].strip() for line in cells}
  assert 0 < float(values["autoencode"]) < 1
  assert values["rotation"] == ""


def test_one_more_method_trains_only_itself(finished, capfd):
  out, arguments = finished
  before = rows_of(directory(out, "compare-"))
  assert call("compare", "--methods=autoencode,denoise,rotation", *arguments) == 0
  after = rows_of(directory(out, "compare-"))
  assert after[: len(before)] == before
  assert {r["method"] for r in after[len(before) :]} == {"denoise"}
  captured = capfd.readouterr()
  assert "pretraining denoise" in captured.err
  assert "pretraining rotation" not in captured.err


def test_what_does_not_fit_is_left_out_and_says_why(toy, tmp_path):
  wide = tmp_path / "wide.npz"
  arrays = {f"{name}_labels": getattr(toy, name).y for name in ("train", "test")}
  arrays |= {f"{name}_images": getattr(toy, name).x[:, :, :9] for name in ("train", "test")}
  np.savez(wide, **arrays)
  tiny = ["--encoder=mlp:widths=4,code=3", "--seeds=2", "--smoke", "--labels=12", "--modes=frozen"]
  arguments = [f"--dataset=npz:{wide}", f"--out={tmp_path}", *tiny]
  assert call("compare", "--methods=rotation,autoencode", *arguments) == 0
  tables = (directory(tmp_path, "compare-") / "tables.md").read_text()
  assert re.search(r"\| rotation .*needs square images, not 12x9", tables)
  assert {r["method"] for r in rows_of(directory(tmp_path, "compare-"))} == {"none", "autoencode"}


def test_only_a_refusal_is_left_out(toy_npz, tmp_path, monkeypatch, capsys):
  """A full disk, a damaged checkpoint and a loss that is not finite end the comparison, and its exit status tells."""
  from sslx.training import checkpoint, loop

  tiny = ["--encoder=mlp:widths=4,code=3", "--seeds=1", "--smoke", "--labels=12", "--modes=frozen"]
  arguments = ["--methods=autoencode", f"--dataset={toy_npz}", f"--out={tmp_path}", *tiny]
  with monkeypatch.context() as full:
    error = UserError("--out: cannot save a checkpoint: No space left on device")
    full.setattr(checkpoint, "save", lambda *_: (_ for _ in ()).throw(error))
    assert call("compare", *arguments) == 1
  assert "No space left" in capsys.readouterr().err
  assert call("compare", *arguments) == 0
  run = directory(tmp_path, "autoencode-")
  for path in run.glob("checkpoints/*/*/**/*"):
    if path.is_file():
      path.write_bytes(path.read_bytes()[:7])
  capsys.readouterr()
  assert call("compare", *arguments) == 1
  assert "damaged" in capsys.readouterr().err
  with monkeypatch.context() as diverging:
    error = UserError("the loss is not finite")
    diverging.setattr(loop, "fit", lambda *_: (_ for _ in ()).throw(error))
    assert call("compare", *arguments, "--fresh") == 1
  assert "not finite" in capsys.readouterr().err
  assert call("compare", *arguments[1:], "--methods=mae") == 0  # it needs patches
  assert "use --encoder=vit" in (directory(tmp_path, "compare-") / "tables.md").read_text()


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
  assert call("compare", *arguments, f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY) == 1
  err = capsys.readouterr().err
  assert message in err
  assert len(err.splitlines()) == 1
