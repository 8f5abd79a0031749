"""Folders of one's own without a test split, or without any label: pretraining, pictures, and what is refused."""

import re

import numpy as np
import pytest
from helpers import call, directory
from PIL import Image

from experiments.shared import runs

CLASSES = {"red": (200, 40, 40), "blue": (40, 40, 200)}


def save(path, colour, rng):
  """A square of noise around a colour, of a size of its own."""
  path.parent.mkdir(parents=True, exist_ok=True)
  height, width = rng.integers(10, 20, 2)
  noise = rng.normal(0, 20, (height, width, 3)) + np.array(colour)
  Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """few/: train and unlabeled; bare/: unlabeled alone; files of several sizes."""
  root, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
  for name, colour in CLASSES.items():
    for i in range(12):
      save(root / "few" / "train" / name / f"{i}.{'png' if i % 2 else 'jpg'}", colour, rng)
    for i in range(20):
      for place in ("few", "bare"):
        save(root / place / "unlabeled" / f"{name}{i}.png", colour, rng)
  return root


def pretrained(folder, out, name, *more):
  given = [f"--dataset=folder:{folder / name}", "--image_size=12", f"--out={out}", "--smoke", *more]
  assert call("pretrain", "--method=autoencode", "--encoder=mlp:code=4", *given) == 0
  return directory(out, "autoencode"), given


@pytest.mark.parametrize(
  ("name", "told", "looked_at"),
  [
    ("few", "24 labelled images (blue 12, red 12), no test split, 40 unlabelled",
     "64 training images of folder:.*, 40 of them without labels"),
    ("bare", "40 images without labels", "40 training images of folder:"),
  ],
)  # fmt: skip
def test_pretraining_and_what_it_learnt(folder, tmp_path, capsys, monkeypatch, name, told, looked_at):
  monkeypatch.setattr(runs, "is_program", lambda: True)
  run, given = pretrained(folder, tmp_path, name)
  assert f"folder:{folder / name}: {told}\n" in capsys.readouterr().err
  assert (run / "figures" / "loss.png").exists()
  assert call("interpret", f"--checkpoint={run}", *given[1:]) == 0
  page = (directory(tmp_path, "interpret") / "report.html").read_text()
  assert re.search(looked_at, page)
  assert ("without a label" in page) == (name == "few")
  assert {"maps.png", "neighbours.png"} <= {path.name for path in directory(tmp_path, "interpret").rglob("*.png")}


def test_labels_of_a_file_are_labels(folder, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(runs, "is_program", lambda: True)
  labels = tmp_path / "labels.csv"
  labels.write_text("path,class\n" + "".join(f"red{i}.png,red\nblue{i}.png,blue\n" for i in range(5)))
  pretrained(folder, tmp_path, "bare", f"--labels_file={labels}")
  said = capsys.readouterr().err
  assert f"by {labels}, 10 files of unlabeled/ have labels\n" in said
  assert f"folder:{folder / 'bare'}: 10 labelled images (blue 5, red 5), no test split, 30 unlabelled\n" in said


def test_nothing_is_asked_of_data_without_labels(folder, tmp_path, capsys):
  given = ["--image_size=12", f"--out={tmp_path}", "--smoke"]
  assert call("low_label", f"--dataset=folder:{folder / 'bare'}", *given) == 1
  assert (
    f"error: --dataset=folder:{folder / 'bare'}: has no labels to be used; move some files to "
    f"{folder / 'bare' / 'train'}/CLASS/, or name their classes with --labels_file; or pretrain on it with "
    "experiments.pretrain.\n"
  ) in capsys.readouterr().err
  np.savez(tmp_path / "a.npz", unlabeled_images=np.arange(9 * 64, dtype=np.uint8).reshape(9, 8, 8))
  assert call("low_label", f"--dataset=npz:{tmp_path / 'a.npz'}", *given[1:]) == 1
  assert "has no labels to be used; add train_images and train_labels; or pretrain on it" in capsys.readouterr().err
  assert call("pretrain", "--method=supervised", f"--dataset=folder:{folder / 'bare'}", *given) == 1
  (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
  assert "labels" in line
  assert call("low_label", "--dataset=mnist", f"--labels_file={tmp_path / 'x.csv'}", *given[1:]) == 1
  assert "mnist takes none; it is for folder:DIR, audio:DIR, text:FILE|DIR" in capsys.readouterr().err
