"""experiments.speakers: from a finished run and by itself; what it reads, what it writes, what it refuses."""

import dataclasses

import numpy as np
import pytest
from helpers import call, directory

from experiments.shared import runs
from experiments.shared.classes import with_classes, without_classes
from sslx import data
from sslx.report import records, sounds
from sslx.tasks import TASKS
from sslx.types import UserError

SMOKE = ("--smoke", "--recordings=60")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """The directory of a run of predictive coding, and its --out."""
  out = tmp_path_factory.mktemp("runs")
  given = ["--dataset=spoken_digits", "--method=cpc_audio", "--encoder=mel+gru:width=8,context=8", f"--out={out}"]
  assert call("pretrain", *given, "--smoke") == 0
  return directory(out, "cpc_audio"), out


def test_a_finished_run_is_read_at_its_context(trained, capsys):
  run, out = trained
  assert call("speakers", f"--checkpoint={run}", f"--out={out}", *SMOKE) == 0
  made = directory(out, "speakers-cpc_audio")
  rows = records.read_rows(made / "spaces.jsonl")
  assert [(row["features"], row.get("reading"), row.get("dimensions")) for row in rows] == [
    ("cpc_audio", "context:time1", 8), ("random", "context:time1", 8), ("raw", "time1", 40), ("chance", None, None),
  ]  # fmt: skip
  assert all(0 <= row[name] <= 100 for row in rows for name in ("speaker %", "digit %"))
  assert rows[2]["speaker %"] > 2 * rows[3]["speaker %"]  # a mean spectrogram tells voices
  names = {path.name for path in (made / "figures").iterdir()}
  assert names == {"space_1.png", "space_2.png", "space_3.png", "ahead.png"}
  text = (made / "report.html").read_text()
  assert text.count("<img") == 4
  assert "Smoke run" in text
  assert "cpc_audio" in capsys.readouterr().out


def test_it_pretrains_what_is_not_there_as_pretrain_does(tmp_path, capsys):
  given = ["--method=denoise", "--encoder=conv:widths=4-6", f"--out={tmp_path}", "--smoke"]
  assert call("pretrain", "--dataset=spoken_digits", *given) == 0
  run = directory(tmp_path, "denoise")
  checkpoint = (run / "checkpoints").stat().st_mtime_ns
  assert call("speakers", *given, "--recordings=60", "--by=digit", "--split=train") == 0
  assert directory(tmp_path, "denoise") == run
  assert (run / "checkpoints").stat().st_mtime_ns == checkpoint  # trained once
  made = directory(tmp_path, "speakers-denoise")
  rows = records.read_rows(made / "spaces.jsonl")
  assert [name for name in rows[0] if name.endswith("%")] == ["digit %"]
  assert rows[0]["reading"] == "time5"
  heard = sounds.read(run / "figures" / "pretext.png")
  assert heard is not None
  assert [row.title for row in heard.rows] == ["recording", "clean", "noisy", "restored"]
  assert [len(row.sounds) for row in heard.rows] == [4] * 4
  text = (made / "report.html").read_text()
  assert text.count("<audio") == 16
  assert "ahead.png" not in {path.name for path in (made / "figures").iterdir()}


def test_classes_are_those_of_the_same_recordings_in_smoke_runs_too():
  def load(targets=()):
    return data.load("spoken_digits", targets=targets)

  both = runs.small(with_classes(load(), ["speaker", "digit"], load))
  assert len(both.train) == runs.SMOKE_IMAGES
  np.testing.assert_array_equal(both.train.others["digit"], both.train.y)
  speakers = load(("speaker",))
  recordings = {np.asarray(speakers.train.x[i]).tobytes(): speakers.train.targets()[i] for i in range(2700)}
  for i in range(0, 600, 37):
    assert both.train.others["speaker"][i] == recordings[np.asarray(both.train.x[i]).tobytes()]
  assert both.others["speaker"].names == speakers.task.names
  plain = without_classes(both)
  assert (plain.others, plain.train.others, plain.test.others) == ({}, {}, {})


@pytest.mark.parametrize(
  ("flags", "why"),
  [
    (["--dataset=mnist"], "--dataset=mnist: is image data; give sound, such as spoken_digits"),
    (["--dataset=spoken_digits:speaker=theo"], "holds a speaker out"),
    (["--by=room"], "--by=room: spoken_digits cannot be sorted by it"),
    (["--by="], "--by is empty"),
    (["--recordings=0"], "--recordings=0: must be positive"),
    (["--features=nowhere:time1"], "nowhere"),
  ],
)
def test_what_cannot_be_sorted_is_refused_in_a_line(flags, why, tmp_path, capsys):
  assert call("speakers", *flags, f"--out={tmp_path}", "--smoke") == 1
  error = capsys.readouterr().err.splitlines()[-1]
  assert error.startswith("error: ")
  assert why in error
  assert list(tmp_path.iterdir()) == []


def test_targets_that_are_no_classes_are_refused():
  digits = data.load("spoken_digits")
  numbers = dataclasses.replace(digits, task=TASKS["regression"](["pitch"]))
  with pytest.raises(
    UserError, match="--by=pitch: spoken_digits cannot be sorted by it: its targets are of regression"
  ):
    with_classes(digits, ["pitch"], lambda targets: numbers)
