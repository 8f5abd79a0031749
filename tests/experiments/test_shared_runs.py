"""Run directories and pretraining: every method, large batches, a kill and a second call, directories of other runs."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import call, directory

from experiments.shared import cli, runs
from sslx.training import checkpoint
from sslx.types import UserError

ENCODER = "--encoder=conv:widths=4-6,norm=none"
ROOT = Path(cli.__file__).parents[2]


@pytest.mark.parametrize("method", ["autoencode", "rotation", "simclr", "supervised"])
def test_every_method_pretrains(method, toy_npz, tmp_path, capsys):
  arguments = [f"--method={method}", f"--dataset={toy_npz}", f"--out={tmp_path}", ENCODER, "--smoke"]
  assert call("pretrain", *arguments) == 0
  run = directory(tmp_path)
  assert str(run) in capsys.readouterr().out
  assert (run / "figures" / "loss.png").exists()
  assert [d.name for d in (run / "checkpoints").iterdir() if d.name.isdecimal()] == [str(cli.SMOKE_STEPS)]


def test_large_batches_go_on_where_they_stopped(toy_npz, tmp_path):
  """LARS, accumulated, in bfloat16: a second command restores it, another one is another run."""
  how = ["--optimizer=lars", "--accumulate=2", "--precision=bfloat16", "--pretraining_weight_decay=1e-6", "--epochs=9"]
  views = "--hp=views=digits:degrees=0,scale=0,shear=0,elastic=0,contrast=0"  # shifts alone compile soon
  arguments = ["--method=simclr", "--encoder=conv:widths=4,norm=none", "--hp=projector=4", views, "--batch_size=16"]
  arguments += [f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke"]
  assert call("pretrain", *arguments, *how, "--warmup_epochs=1") == 0
  run = directory(tmp_path)
  config = json.loads((run / "config.json").read_text())
  assert (config["optimizer"], config["accumulate"], config["precision"]) == ("lars", 2, "bfloat16")
  assert (config["weight_decay"], config["warmup_epochs"]) == (1e-6, 1.0)
  assert config["learning_rate"] == pytest.approx(0.3 * 16 / 256)
  saved = (run / "checkpoints").stat().st_mtime_ns
  assert call("pretrain", *arguments, *how, "--warmup_epochs=1") == 0
  assert directory(tmp_path) == run
  assert (run / "checkpoints").stat().st_mtime_ns == saved
  assert call("probe", f"--checkpoint={run}", f"--out={tmp_path / 'p'}", "--seeds=2", "--labels=12", "--smoke",
              "--modes=frozen") == 0  # fmt: skip
  assert call("pretrain", *arguments, *how) == 0
  assert len([d for d in tmp_path.iterdir() if d.name.startswith("simclr")]) == 2


KILLED = """
import os, signal, sys
from experiments import pretrain
from experiments.shared import cli
from sslx.report import records

append = records.append_row

def append_and_die(path, row):
  append(path, row)
  if row["step"] == 105:
    os.kill(os.getpid(), signal.SIGKILL)

records.append_row = append_and_die
cli.run(pretrain.main, "experiments.pretrain", sys.argv)
"""


def test_kill_and_run_again_is_bit_identical(toy_npz, tmp_path):
  """Killed after a row that is beyond the last checkpoint; the second call goes on in another process."""

  def flags(out: str) -> list[str]:
    given = [f"--dataset={toy_npz}", "--encoder=conv:widths=4,norm=batch", "--epochs=25", "--batch_size=32"]
    return [*given, f"--out={tmp_path / out}"]

  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  command = [sys.executable, "-c", KILLED, *flags("killed"), "--save_seconds=0.05"]
  killed = subprocess.run(command, env=environment, check=False)
  assert killed.returncode == -signal.SIGKILL
  saved = checkpoint.steps(directory(tmp_path / "killed") / "checkpoints")
  assert saved
  assert max(saved) < 105
  for out in ("killed", "whole"):
    assert call("pretrain", *flags(out)) == 0
  trees = [checkpoint.restore_encoder(directory(tmp_path / out)) for out in ("killed", "whole")]
  assert trees[0][1]["digests"] == trees[1][1]["digests"]
  rows = [
    [json.loads(line) for line in (directory(tmp_path / out) / "metrics.jsonl").read_text().splitlines()]
    for out in ("killed", "whole")
  ]
  steps = [[row["step"] for row in history] for history in rows]
  assert steps[0][-1] == steps[1][-1] == 25 * (216 // 32)  # of 240 images 24 are watched
  assert steps[0] == sorted(set(steps[0]))
  assert rows[0][-1]["heldout_loss"] == rows[1][-1]["heldout_loss"]


def test_an_unwritable_out_is_one_line(toy_npz, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  assert call("pretrain", f"--dataset={toy_npz}", f"--out={tmp_path / 'file'}", ENCODER, "--smoke") == 1
  assert re.search(r"^error: --out=\S+: cannot write there", capsys.readouterr().err)


def test_a_directory_of_another_configuration_is_refused(toy_npz, tmp_path, capsys):
  arguments = [f"--dataset={toy_npz}", f"--out={tmp_path}", ENCODER, "--smoke"]
  assert call("pretrain", *arguments) == 0
  config = directory(tmp_path) / "config.json"
  config.write_text(config.read_text().replace('"seed": 0', '"seed": 1'))
  assert call("pretrain", *arguments) == 1
  assert "another configuration" in capsys.readouterr().err
  assert call("pretrain", *arguments, "--fresh") == 0


def test_transfer_is_between_images(toy):
  sound = dataclasses.replace(toy, modality=toy.modality._replace(name="sound"))
  assert runs.fitted(toy, toy, any_size=False, match_channels=False) is toy
  for target, source, said in ((sound, toy, "from image to sound"), (toy, sound, "from sound to image")):
    with pytest.raises(UserError, match=f"--targets={toy.name}: .*{said}"):
      runs.fitted(target, source, any_size=True, match_channels=True)
