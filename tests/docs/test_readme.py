"""README.md: short, complete, and each of its commands does what it says, here at small size."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from helpers import call, directory, rows_of
from PIL import Image

from sslx.pretext import METHODS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = ("results", "tasks", "sound", "words", "video", "labels", "own_data")
SMALL = ("--smoke", "--seeds=2", "--encoder=conv:widths=4-6,norm=none", "--labels=20")


def commands() -> list[list[str]]:
  """The words of each line that calls launch.sh, without its comment; `low_label` for `experiments.low_label`."""
  lines = re.findall(r"^ {4}(\./launch\.sh .*)$", README, re.MULTILINE)
  return [shlex.split(line.replace(" experiments.", " "), comments=True)[1:] for line in lines]


def test_it_is_read_in_a_few_minutes():
  assert 600 <= len(README.split()) <= 800
  assert README.count("![") == 1  # one picture, near the top
  assert README.index("![") < 1200


def test_every_method_stands_in_it_with_the_paper_that_its_module_names():
  (table,) = re.findall(r"^\| what it takes .*?\n\n", README, re.MULTILINE | re.DOTALL)
  for name in METHODS:
    assert re.search(rf"\b{name}\b", table), name
  papers = re.findall(r"\[(\w+)\]\(https://arxiv\.org/abs/([\d.]+)\) (\d{4})", table)
  assert len(papers) >= 23
  for name, paper, year in papers:
    source = (ROOT / f"sslx/pretext/{name}.py").read_text()
    assert re.search(rf"arXiv\s+{re.escape(paper)}", source), name
    assert year in source.partition('"""\n\n')[0], name


def test_the_number_of_methods_is_right():
  assert f"any of {sum(not method.labels for method in METHODS.values())} self-supervised methods" in README.replace(
    "\n", " "
  )


def test_every_interval_that_it_tells_stands_in_the_results():
  results = "".join((ROOT / f"docs/{page}.md").read_text() for page in PAGES)
  results = results.replace(" points, 95% CI", "")  # of sentences, which say it in words
  told = re.findall(r"[+-][\d.]+ \[[^\]]+\]", README)
  assert len(told) >= 7
  assert [text for text in told if text not in results] == []


def test_the_tests_are_what_launch_sh_calls_tests():
  assert ["test"] in commands()
  assert "pytest" in (ROOT / "launch.sh").read_text()


def write_photos(folder: Path) -> None:
  """The folders that the README shows: two classes of photographs of different sizes."""
  rng = np.random.default_rng(0)
  for split, names in {"train": ("cat", "dog"), "unlabeled": ("",)}.items():
    for name in names:
      place = folder / split / name
      place.mkdir(parents=True)
      for number in range(24):
        size = (40 + number % 3, 44)
        pixels = rng.integers(0, 255, (*size, 3)) // 2 + (60 if name == "cat" else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.jpg")


OWN = [command for command in commands() if any("photos" in word or "worth" in word for word in command)]
MNIST = [command for command in commands() if command not in (*OWN, ["test"])]


@pytest.mark.parametrize("command", MNIST, ids=" ".join)
def test_commands_on_mnist(command, tmp_path):
  name, *flags = command
  assert call(name, *flags, f"--out={tmp_path}", *SMALL) == 0
  run = directory(tmp_path)
  assert (run / "report.html").exists()
  assert {"raw", "random", "scratch", "frozen"} <= {row["mode"] for row in rows_of(run)}


def test_commands_on_own_images(tmp_path, monkeypatch):
  """One after the other: what the later ones take is made by the first."""
  monkeypatch.chdir(tmp_path)
  write_photos(tmp_path / "photos")
  assert [name for name, *_ in OWN] == ["worth", "predict", "label_next"]
  small = {"worth": (*SMALL, "--image_size=16", "--methods=denoise", "--modes=frozen", "--out=runs")}
  for name, *flags in OWN:
    made = [str(path) for path in tmp_path.glob("runs/worth-*")]
    given = [flag.replace("runs/worth-...", *made) if made else flag for flag in flags]
    assert call(name, *given, *small.get(name, ())) == 0, name
  (run,) = tmp_path.glob("runs/worth-*")
  assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 1 + 24
  assert (run / "report.html").exists()
  assert (run / "labels.html").exists()
