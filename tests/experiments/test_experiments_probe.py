"""experiments.probe: an encoder alone, restored and probed; its features exported; one line for what does not fit."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import call, directory, rows_of


def test_probe_restores_the_encoder_alone_and_exports(low_label_run, tmp_path):
  _, run = low_label_run
  features = tmp_path / "features.npz"
  where = [f"--checkpoint={run}", f"--out={tmp_path}", f"--export={features}"]
  assert call("probe", *where, "--seeds=2", "--labels=12", "--smoke", "--modes=frozen,knn:3") == 0
  with np.load(features) as arrays:
    assert arrays["train_features"].shape == (240, 3 * 3 * 6)
    assert arrays["test_features"].shape == (90, 3 * 3 * 6)
    assert arrays["train_labels"].shape == (240,)
  mine = {(r["mode"], r["subset_seed"]): r["test_accuracy"] for r in rows_of(directory(tmp_path))}
  theirs = {
    (r["mode"], r["subset_seed"]): r["test_accuracy"]
    for r in rows_of(run)
    if r["labels"] == 12 and r["settings"]["validation"] == "cv"
  }
  for seed in (0, 1):
    for mode in ("raw", "frozen"):
      assert mine[mode, seed] == theirs[mode, seed]


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "no folder"])
def test_an_export_that_can_be_no_file_is_told_before_any_work(kind, tmp_path, capsys):
  path = {"device": Path("/dev/null"), "no folder": tmp_path / "none/x.npz"}.get(kind, tmp_path / "there")
  if kind == "folder":
    path.mkdir()
  if kind == "pipe":
    os.mkfifo(path)
  before = path.lstat() if path.exists() else None
  assert call("probe", "--checkpoint=/nowhere", f"--export={path}", f"--out={tmp_path / 'out'}") == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"error: --export={path}: ")
  assert "folder" in line if "folder" in kind else "no ordinary file" in line
  assert before is None or (before.st_ino, before.st_mode) == (path.lstat().st_ino, path.lstat().st_mode)
  assert not (tmp_path / "out").exists()


def test_an_export_through_a_link_is_written_where_it_leads(low_label_run, tmp_path):
  _, run = low_label_run
  link, features = tmp_path / "link.npz", tmp_path / "features.npz"
  link.symlink_to(features)
  given = [f"--checkpoint={run}", f"--out={tmp_path / 'out'}", "--seeds=1", "--labels=12", "--smoke", "--modes=frozen"]
  assert call("probe", *given, f"--export={link}") == 0
  assert link.is_symlink()
  assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npz", "link.npz", "out"]
  assert "test_features" in np.load(features).files


@pytest.mark.parametrize("checkpoint", ["", "/nowhere", "."])
def test_probe_without_a_checkpoint(checkpoint, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert call("probe", *([f"--checkpoint={checkpoint}"] if checkpoint else []), f"--out={tmp_path}") == 1
  assert "--checkpoint" in capsys.readouterr().err


def test_probe_refuses_images_of_another_shape(low_label_run, tmp_path, capsys):
  _, run = low_label_run
  images, labels = np.zeros((30, 10, 10, 1), np.uint8), np.arange(30) % 3
  np.savez(tmp_path / "other.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
  assert call("probe", f"--checkpoint={run}", f"--dataset=npz:{tmp_path / 'other.npz'}", f"--out={tmp_path}") == 1
  assert re.search(r"\(10, 10, 1\).*\(12, 12, 1\).*--image_size=12", capsys.readouterr().err)
