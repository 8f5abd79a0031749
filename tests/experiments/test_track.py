"""experiments.track: what it pretrains and tracks, what it writes, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import Page, call, directory
from PIL import Image

import sslx
from experiments.shared import tracked, tracking
from experiments.shared.publish import SMOKE
from sslx.evaluation import segments
from sslx.report import records

CLIPS = "moving_digits:size=40,digits=14-18,frames=6,train=12,validation=2,test=3"
NETWORK = ["--encoder=grid:widths=8-8-8,depth=1,code=8", "--batch_size=4"]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> list[str]:
  folder = tmp_path_factory.mktemp("video")
  return [f"--data_dir={folder}/data", f"--out={folder}/runs", "--smoke"]


@pytest.fixture(scope="module")
def out(given) -> Path:
  return Path(given[1].partition("=")[2])


@pytest.fixture(scope="module")
def made(given, out) -> Path:
  """The directory of two pretrainings that were tracked."""
  assert call("track", f"--dataset={CLIPS}", *NETWORK, *given, "--pretrainings=2", "--pictured=2") == 0
  return directory(out, "track-")


@pytest.fixture(scope="module")
def run(made, out) -> Path:
  """Of the first pretraining."""
  runs = [path for path in out.iterdir() if path.name.startswith(tracking.METHOD)]
  return next(path for path in runs if json.loads((path / "config.json").read_text())["seed"] == 0)


def test_a_row_for_each_tracker(made):
  rows = records.read_rows(made / "tracks.jsonl")
  assert [(row["tracker"], row["seed"]) for row in rows] == [
    ("temporal_colour", 0), ("temporal_colour", 1), ("random", 0), ("random", 1), ("raw", None), ("identity", None),
    (tracking.GRID, None),
  ]  # fmt: skip
  assert [bool(row["pretraining"]) for row in rows] == [True, True, *[False] * 5]
  for row in rows:
    assert [video["name"] for video in row["videos"]] == [video["name"] for video in rows[0]["videos"]]
    assert len(row["videos"]) == 3
    assert row["data"]
    assert row["versions"]["sslx"]
    for video in row["videos"]:
      np.testing.assert_allclose([video["J"], video["F"]], np.mean(video["objects"], axis=0))
      assert 0 <= video["J"] <= 1
    settings = row.get("settings")
    assert (settings is None) == (row["tracker"] in ("identity", tracking.GRID))
    if settings:
      assert bool(settings["patch"]) == (row["tracker"] == "raw")
  assert rows[0]["videos"] != rows[2]["videos"]
  both = tracked.scores(rows[-1:])
  assert both.min() > tracked.scores(rows[-2:-1]).mean()  # true masks on a grid, against those that stay


def test_masks_that_stay_are_scored_as_such(made, given):
  rows = records.read_rows(made / "tracks.jsonl")
  videos = sslx.load_data(CLIPS, data_dir=given[0].partition("=")[2]).videos["test"]
  for video, row in zip(videos, rows[-2]["videos"], strict=True):
    masks = np.asarray(video.masks)
    objects = [np.mean([_iou(masks[0] == k, mask == k) for mask in masks[1:]]) for k in segments.objects_of(video)]
    np.testing.assert_allclose(row["J"], np.mean(objects))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
  return (a & b).sum() / (a | b).sum() if (a | b).any() else 1.0


def test_the_page_moves_and_holds_all_that_it_shows(made):
  page = Page((made / "report.html").read_text())
  pictures = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
  assert all(value.startswith("data:") for value in pictures)
  assert sum(value.startswith("data:image/gif") for value in pictures) == 2
  assert SMOKE.partition(":")[0] in page.text or "Smoke run" in page.text
  assert ("a", "href", "attention.html") in page.attributes
  assert (made / "attention.html").exists()
  for text in ("over random", "over raw", "over identity", "copied is better by", "How labels are copied"):
    assert text in page.text
  assert "over random" in (made / "tables.md").read_text()


def test_a_second_call_measures_nothing_again(made, given, capsys):
  before = (made / "tracks.jsonl").read_bytes()
  assert call("track", f"--dataset={CLIPS}", *NETWORK, *given, "--pretrainings=2", "--pictured=2") == 0
  assert (made / "tracks.jsonl").read_bytes() == before
  assert "choosing on" not in capsys.readouterr().err


def test_checkpoints_of_clips_and_of_images(run, given, out, tmp_path):
  """Each has its own untrained encoder; the data set is that of the first run on clips."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
  np.savez(tmp_path / "data.npz", train_images=images, train_labels=np.arange(40) % 2, test_images=255 - images,
           test_labels=np.arange(40) % 2)  # fmt: skip
  other = ["--method=denoise", "--encoder=conv:widths=8-8", f"--dataset=npz:{tmp_path / 'data.npz'}", "--steps=2"]
  assert call("pretrain", *other, *given) == 0
  both = f"--checkpoint={run},{directory(out, 'denoise')}"
  assert call("track", both, *given, f"--out={tmp_path / 'runs'}", "--pictured=1") == 0
  rows = records.read_rows(directory(tmp_path / "runs") / "tracks.jsonl")
  assert [row["tracker"] for row in rows] == [
    "temporal_colour", "denoise", "random (grid:widths=8-8-8,depth=1,code=8)", "random (conv:widths=8-8)", "raw",
    "identity", tracking.GRID,
  ]  # fmt: skip
  first = records.read_rows(directory(out, "track-") / "tracks.jsonl")[0]
  assert rows[0]["videos"] == first["videos"]  # a checkpoint tracks as what was just pretrained


@pytest.mark.parametrize(
  ("arguments", "told"),
  [
    (["--dataset=mnist"], "--dataset=mnist: is image data; give videos"),
    (["--dataset={clips}", "--features=block7"], "Did you mean 'block2'"),
    (["--dataset={clips}", "--features=pool"], "--features=pool: tracking reads one block"),
    (["--dataset={clips}", "--method=denoise", "--encoder=mlp"], "has no map of places"),
    (["--dataset={clips}", "--pictured=0"], "--pictured=0: must be positive"),
    (["--checkpoint={tmp}/nothing"], "nothing"),
    (["--checkpoint="], "--checkpoint=: name a run directory"),
    (["--dataset={clips}", "--encoder=mlp"], "--encoder=grid"),
  ],
)
def test_what_is_refused(arguments, told, given, tmp_path, capsys):
  places = {"clips": CLIPS, "tmp": tmp_path}
  assert call("track", *(text.format(**places) for text in arguments), *given, f"--out={tmp_path}") != 0
  error = capsys.readouterr().err.strip().splitlines()[-1]
  assert error.startswith("error: ")
  assert told in error


def test_videos_without_masks_are_refused(given, tmp_path, capsys):
  rng = np.random.default_rng(0)
  folder = tmp_path / "videos" / "one"
  folder.mkdir(parents=True)
  for t in range(14):
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{t:03d}.png")
  assert call("track", f"--dataset=video:{tmp_path / 'videos'}", *given) != 0
  assert "no video has masks" in capsys.readouterr().err


def test_flags_of_videos_are_not_those_of_the_clips_that_settings_are_chosen_on(run, given, tmp_path, monkeypatch):
  """--size resizes the videos that are scored; clips of moving_digits are rendered as their settings say."""
  monkeypatch.setattr(tracking, "DATA", CLIPS)
  rng = np.random.default_rng(0)
  for kind, pixels in (("JPEGImages", rng.integers(0, 256, (6, 32, 48, 3))), ("Annotations", np.ones((6, 32, 48)))):
    folder = tmp_path / "videos" / kind / "one"
    folder.mkdir(parents=True)
    for t, frame in enumerate(pixels.astype(np.uint8)):
      Image.fromarray(frame).save(folder / f"{t:03d}.png")
  flags = [f"--dataset=video:{tmp_path / 'videos'}", "--size=24", "--frames=4", f"--out={tmp_path / 'runs'}"]
  assert call("track", f"--checkpoint={run}", *given, *flags) == 0
  rows = records.read_rows(directory(tmp_path / "runs") / "tracks.jsonl")
  assert [video["name"] for video in rows[0]["videos"]] == ["one"]
  assert tracked.scores(rows[-2:-1]).item() == 1  # a mask that stays is right where all is one object


def test_runs_are_told_apart_by_what_differs():
  """Seeds alone are pretrainings of one row."""
  plain = {"method": "simclr", "dataset": "a", "encoder": "conv", "steps": 5, "batch_size": 2, "learning_rate": 0.1}
  runs = [{**plain, "seed": seed, "hp": {"views": "auto"}} for seed in (0, 1)]
  assert tracking.titles(runs) == ["simclr", "simclr"]
  runs += [{**plain, "hp": {"views": "frames"}}, {**plain, "method": "denoise", "hp": {"noise": "gaussian"}}]
  assert tracking.titles(runs) == [*["simclr (views=auto)"] * 2, "simclr (views=frames)", "denoise"]
  runs = [{**plain, "hp": {}}, {**plain, "hp": {}, "dataset": "b", "steps": 6}]
  assert tracking.titles(runs) == ["simclr (a)", "simclr (b)"]


def test_differences_are_paired_by_video():
  """Two trackers whose difference is the same on every video have an interval without width."""
  values = np.random.default_rng(0).random(20)

  def row(name: str, seed: int | None, shift: float) -> dict:
    return {
      "tracker": name,
      "seed": seed,
      "videos": [{"name": str(i), "J": v + shift, "F": v} for i, v in enumerate(values)],
    }

  references = [row("raw", None, 0), row("identity", None, -0.2)]
  cells = tracked.tables([row("simclr", 0, 0.2), *references])[0].cells
  line = dict(zip(cells.headers, cells.rows[0], strict=True))
  assert line["over raw"] == "+0.100 [+0.100, +0.100]"
  assert line["over identity"] == "+0.200 [+0.200, +0.200]"
  several = tracked.tables([row("simclr", 0, 0.3), row("simclr", 1, 0.1), *references])[0].cells
  line = dict(zip(several.headers, several.rows[0], strict=True))
  assert line["over raw"] == "+0.100 [+0.050, +0.150]"  # of pretrainings that differ
  assert line["J&F"] == f"{values.mean() + 0.1:.3f} ± {0.1 / np.sqrt(2):.3f}"
