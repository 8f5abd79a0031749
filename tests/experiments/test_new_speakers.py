"""experiments.new_speakers: a fold a speaker, paired intervals over the folds, and what it refuses."""

import json

import pytest
from helpers import call, directory, rows_of

SMALL = ("--smoke", "--method=apc", "--encoder=mel:bands=8+gru:width=8,context=8", "--modes=frozen")


def test_every_speaker_is_the_test_once(tmp_path, capsys):
  assert call("new_speakers", *SMALL, f"--out={tmp_path}") == 0
  found = directory(tmp_path, "new_speakers-")
  rows = rows_of(found)
  by_mode = {}
  for row in rows:
    by_mode.setdefault(row["mode"], []).append(row)
  assert set(by_mode) == {"raw", "random", "scratch", "frozen"}
  speakers = {f"spoken_digits:speaker={name}" for name in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")}
  for mode, folds in by_mode.items():
    assert {row["dataset"] for row in folds} == speakers, mode
    assert sorted(row["subset_seed"] for row in folds) == [0, 1, 2, 3, 4, 5]
  assert len({row["settings"]["data"] for row in rows}) == 6
  summary = [json.loads(line) for line in (found / "summary.jsonl").read_text().splitlines()]
  (frozen,) = [entry for entry in summary if entry["mode"] == "frozen"]
  assert len(frozen["values"]) == 6
  assert frozen["pairs"] == 6
  assert (found / "report.html").exists()
  pretrained = {row["pretraining"]["data_digest"] for row in by_mode["frozen"]}
  assert len(pretrained) == 6  # none has heard the one it is tested on
  before = len(rows)
  assert call("new_speakers", *SMALL, f"--out={tmp_path}") == 0
  assert len(rows_of(found)) == before


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--dataset=mnist", "--dataset=mnist: this is of the speakers of spoken_digits"),
    ("--seeds=3", "--seeds=3: the folds are its repetitions"),
    ("--checkpoint=x", "--checkpoint: its pretraining has heard all speakers but one"),
  ],
)
def test_what_it_refuses(flag, message, tmp_path, capsys):
  assert call("new_speakers", *SMALL, flag, f"--out={tmp_path}") != 0
  assert message in capsys.readouterr().err
