"""experiments.active: its rows, that a second command goes on, and what it refuses."""

from pathlib import Path

import pytest
from helpers import Page, call, directory

from experiments.shared.publish import SMOKE
from sslx.report import records

TINY = ["--encoder=conv:widths=4-6,norm=none", "--method=autoencode", "--smoke", "--round=6"]


@pytest.fixture(scope="module")
def made(toy_npz, tmp_path_factory) -> Path:
  """The run directory of a finished comparison."""
  out = tmp_path_factory.mktemp("active")
  flags = [f"--dataset={toy_npz}", f"--out={out}", *TINY]
  assert call("active", *flags, "--seeds=2", "--labels=6,12", "--strategies=typical,margin") == 0
  return directory(out, "active-")


def test_rows(made):
  rows = records.read_rows(made / "active.jsonl")
  keys = [(row["mode"], row["subset_seed"], row["labels"]) for row in rows]
  assert keys == [(m, s, n) for m in ("typical", "margin", "random") for s in (0, 1) for n in (6, 12)]
  by_key = dict(zip(keys, rows, strict=True))
  for (mode, seed, labels), row in by_key.items():
    assert len(set(row["rows"])) == labels == sum(row["classes"])
    assert row["rows"][:6] == by_key[mode, seed, 6]["rows"]
    assert 0 <= row["test_accuracy"] <= 1
    assert row["pretraining"]["method"] == "autoencode"
    assert row["versions"]["sslx"]
  for seed in (0, 1):
    assert by_key["margin", seed, 6]["rows"] == by_key["random", seed, 6]["rows"]
    assert by_key["margin", seed, 12]["rows"] != by_key["random", seed, 12]["rows"]


def test_the_page_and_tables(made):
  page = Page((made / "report.html").read_text())
  for text in ("vs random [95% CI]", "typical", "margin", "share of the largest %"):
    assert text in page.text
    assert text in (made / "tables.md").read_text() or text == "typical"
  assert (made / "figures" / "labels.png").exists()


def test_what_is_there_is_not_measured_again(made, toy_npz, monkeypatch, capsys):
  from sslx.evaluation import rounds

  simulate, asked = rounds.simulate, []

  def counted(strategy, pool, count, size, seed):
    asked.append((strategy, seed))
    return simulate(strategy, pool, count, size, seed)

  monkeypatch.setattr(rounds, "simulate", counted)
  before = (made / "active.jsonl").read_text()
  flags = [f"--dataset={toy_npz}", f"--out={made.parent}", *TINY, "--labels=6,12"]
  assert call("active", *flags, "--seeds=2", "--strategies=typical,margin") == 0
  assert not asked
  assert (made / "active.jsonl").read_text() == before
  assert SMOKE in capsys.readouterr().out
  assert call("active", *flags, "--seeds=2", "--strategies=coreset") == 0
  assert asked == [("coreset", 0), ("coreset", 1)]
  assert (made / "active.jsonl").read_text().startswith(before)


def test_a_checkpoint(made, toy_npz, tmp_path):
  run = directory(made.parent, "autoencode-")
  flags = [f"--checkpoint={run}", f"--out={tmp_path}", "--smoke", "--round=6", "--labels=6", "--seeds=1"]
  assert call("active", *flags, "--strategies=typical") == 0
  (row,) = [r for r in records.read_rows(directory(tmp_path) / "active.jsonl") if r["mode"] == "typical"]
  expected = [r for r in records.read_rows(made / "active.jsonl") if (r["mode"], r["subset_seed"]) == ("typical", 0)]
  assert row["rows"] == expected[0]["rows"]
  assert row["test_accuracy"] == expected[0]["test_accuracy"]


@pytest.mark.parametrize(
  ("wrong", "why"),
  [
    (["--labels=7"], "--labels=7: 7 is no multiple of --round=6"),
    (["--strategies=typcal"], "--strategies=typcal,random: 'typcal' is none of typical, margin, auto, coreset, random"),
    (["--round=0"], "--round=0: must be positive"),
    (["--dataset=scenes"], "its task is detection; labelling is measured on classes"),
  ],
)
def test_refusals(wrong, why, toy_npz, tmp_path, mnist_dir, capsys):
  flags = [f"--dataset={toy_npz}", f"--out={tmp_path}", f"--data_dir={mnist_dir}", *TINY, "--labels=6", "--seeds=1"]
  assert call("active", *flags, *wrong) != 0
  last = capsys.readouterr().err.strip().splitlines()[-1]
  assert last.startswith("error: ")
  assert why in last
