"""What experiments.track shows: tables, a headline, pictures, and a page of where places look."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.shared import cli, tracking
from experiments.shared.publish import SMOKE
from experiments.shared.terminal import announce
from experiments.shared.tracking import GRID, IDENTITY, RANDOM, RAW, Row, Tracker, Trained, Videos

if TYPE_CHECKING:
  from sslx import report
  from sslx.data import Dataset
  from sslx.report.attention import Scene
  from sslx.report.pages import Figure, Link

SHOWN = 30  # videos of a table that has a line for each
AHEAD = 4  # frames from the reference of colours, or of attention, to the frame that looks at it
PLACES = 6  # of a picture of attention
NOTE = (
  "J: overlap of each object's mask with the true one; F: how well their boundaries agree; J&F: their mean, over all "
  "frames but the first, objects and videos. 95% intervals are bootstrapped over videos and pretrainings, "
  "and differences are paired by video. How labels are copied was chosen for each row on clips of other digits. "
)
ROWS = {
  IDENTITY: "the first mask, where it is", RAW: "grey patches", RANDOM: "the encoder before training",
  GRID: "what no row on this grid can exceed by much",
}  # fmt: skip


def by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
  """The rows of each tracker, over its pretrainings."""
  return {name: [row for row in rows if row["tracker"] == name] for name in dict.fromkeys(r["tracker"] for r in rows)}


def scores(rows: Sequence[Row], what: str = "both") -> np.ndarray:
  """J, F or both of each row of a tracker and each video: f64 [R,V]."""
  return np.array([[(v["J"] + v["F"]) / 2 if what == "both" else v[what] for v in row["videos"]] for row in rows])


def tables(rows: Sequence[Row]) -> "list[report.Table]":
  """J&F of each tracker with its interval, and how much it is above what learnt nothing."""
  from sslx import report

  groups = by_name(rows)
  references = [name for name in groups if name in (RAW, IDENTITY) or name.startswith(RANDOM)]
  lines = []
  for name, group in groups.items():
    spread = np.std(scores(group).mean(1), ddof=1) if len(group) > 1 else None
    mean = f"{scores(group).mean():.3f}{'' if spread is None else f' ± {spread:.3f}'}"
    over = [
      _difference(group, groups[other]) if name not in (*references, *_bounds(groups)) else "" for other in references
    ]
    parts = [f"{scores(group, what).mean():.3f}" for what in ("J", "F")]
    lines.append([name, mean, _interval(scores(group)), *parts, *over])
  headers = ["tracker", "J&F", "interval", "J", "F", *(f"over {name}" for name in references)]
  several = max(len(group) for group in groups.values())
  seeds = f"± is the standard deviation over {several} pretrainings. " if several > 1 else ""
  told = "; ".join(f"{name}: {what}" for name, what in ROWS.items() if name in groups or name == GRID)
  return [report.Table("Tracking", report.Cells(headers, lines), f"{NOTE}{seeds}{told}."), _chosen(groups)]


def _chosen(groups: "Mapping[str, Sequence[Row]]") -> "report.Table":
  """How each row copies labels, and what that reached where it was chosen."""
  from sslx import report

  lines = []
  for name, row in ((name, row) for name, group in groups.items() for row in group if "settings" in row):
    settings = row["settings"]
    patch = f"{settings['patch']}x{settings['patch']}" if settings["patch"] else ""
    seed = "" if row["seed"] is None else str(row["seed"])
    numbers = [f"{settings[what]:g}" for what in ("radius", "temperature", "k", "context")]
    lines.append([name, seed, patch, *numbers, f"{row['validation']:.3f}"])
  headers = ["tracker", "seed", "patch", "radius", "temperature", "k", "frames", "J&F for validation"]
  note = (
    "patch: pixels that are compared; radius: of the places in the frames before, in places of the grid; temperature "
    "and k: of the softmax, and how many places it is over; frames: how many of those before, beside the first one."
  )
  return report.Table("How labels are copied", report.Cells(headers, lines), note)


def _bounds(groups: Mapping[str, Any]) -> list[str]:
  return [name for name in groups if name.startswith(GRID)]


def _difference(group: Sequence[Row], other: Sequence[Row]) -> str:
  return _plus(scores(group), scores(other))


def _interval(values: np.ndarray, others: np.ndarray | None = None) -> str:
  from sslx.report.intervals import bootstrap_interval

  (low, high), sign = bootstrap_interval(values, others), "" if others is None else "+"
  return f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def by_video(rows: Sequence[Row]) -> "list[report.Table]":
  """J&F of every video, where there are not too many."""
  from sslx import report

  groups, names = by_name(rows), [video["name"] for video in rows[0]["videos"]]
  if len(names) > SHOWN:
    return []
  columns = {name: scores(group).mean(0) for name, group in groups.items()}
  lines = [[name, *(f"{values[i]:.3f}" for values in columns.values())] for i, name in enumerate(names)]
  return [report.Table("J&F by video", report.Cells(["video", *columns], lines))]


def headline(rows: Sequence[Row]) -> str:
  """What each tracker reaches; of a smoke run, that it says nothing."""
  if cli.FLAGS.smoke:
    return SMOKE
  groups = by_name(rows)
  shown = [f"{name} {scores(group).mean():.3f}" for name, group in groups.items() if name not in _bounds(groups)]
  return f"J&F of the masks that were tracked: {', '.join(shown)}."


def colour_tables(trained: Sequence[Trained], dataset: "Dataset") -> "list[report.Table]":
  """How often the colour of a place is told right on test clips, where a method learnt to copy colours."""
  from sslx import report

  learnt = [e for e in trained if (e.config["method"], e.config["dataset"]) == (tracking.METHOD, dataset.name)]
  if not learnt or not len(dataset.test) or dataset.x_shape[0] <= AHEAD:
    return []
  shares = [_colours(each, dataset) for each in learnt]
  both = {name: np.array([share[name] for share in shares]) for name in shares[0]}
  titles = {"copied": "copied", "same_place": "of the same place", "most_frequent": "the clip's most frequent one"}
  lines = [
    [titles[name], f"{values.mean():.3f}", "" if name == "copied" else _plus(both["copied"], values)]
    for name, values in both.items()
  ]
  note = (
    f"Share of places of a grid whose colour, of the method's clusters, is told right, {AHEAD} frames after the frame "
    f"that colours are copied from; {len(dataset.test)} test clips, 95% intervals over them."
  )
  return [report.Table("Colours", report.Cells(["colour", "right", "copied is better by"], lines), note)]


def _plus(values: np.ndarray, others: np.ndarray) -> str:
  return f"{values.mean() - others.mean():+.3f} {_interval(values, others)}"


def _colours(trained: Trained, dataset: "Dataset") -> Mapping[str, np.ndarray]:
  """{name: f64 [N]} of the test clips."""
  import jax

  from sslx.compile import jit
  from sslx.pretext.temporal_colour import colour_accuracy
  from sslx.training.run import restore

  run = restore(trained.directory)
  hp, encoder, prepare = run.meta.config.hp, run.meta.build_encoder(), dataset.modality.prepare

  @jit
  def look(params: Any, state: Any, x: Any) -> Any:
    return colour_accuracy(encoder, params, state, prepare(x), AHEAD, hp["temperature"], hp["window"])

  count = len(dataset.test)
  parts = np.array_split(np.arange(count), -(-count // 20))
  made = [jax.device_get(look(run.params, run.state, dataset.test.x[part])) for part in parts]
  return {name: np.concatenate([each[name] for each in made]) for name in made[0]}


# ---- pictures --------------------------------------------------------------------------------------------------------


def draw(
  rows: Sequence[Row], trackers: Sequence[Tracker], videos: Videos, folder: Path
) -> "tuple[list[Figure], list[Scene]]":
  """Moving pictures and strips of some videos, from the best to the worst by the first row; and what their places look
  at.
  """
  from sslx.evaluation.tracking import Settings
  from sslx.report import figures
  from sslx.report.figures.tracks import evenly
  from sslx.report.pages import Figure

  first = {
    name: next(row for row in rows if row["tracker"] == name) for name in dict.fromkeys(t.name for t in trackers)
  }
  made = {name: next(each for each in trackers if each.name == name) for name in first}
  order = np.argsort(-scores(rows[:1])[0], kind="stable")
  drawn, scenes = [], []
  for place in order[evenly(len(order), cli.FLAGS.pictured)]:
    video = videos.test[place]
    frames = np.asarray(video.frames)
    masks = {"true masks": np.asarray(video.masks)}
    announce(f"drawing {video.name}")
    for name, row in first.items():
      masks[name] = tracking.tracked(made[name], video, Settings(**row["settings"]))
    told = ", ".join(f"{name} {scores([row])[0, place]:.2f}" for name, row in first.items())
    stem = f"{place:03d}"
    moving = figures.save_moving(frames, masks, folder / f"moving_{stem}.gif")
    strip = figures.save(figures.track_rows(frames, masks, video.name), folder / f"strip_{stem}.png")
    drawn += [
      Figure(f"{video.name}, moving", f"J&F: {told}.", moving),
      Figure(f"{video.name}, frame by frame", f"J&F: {told}. Time goes to the right.", strip),
    ]
    scenes.append(_scene(video, made, first))
  attention = figures.save(_attention(scenes), folder / "attention.png")
  caption = f"Places of a frame, and what of the frame {AHEAD} before it looks like them; with each row's temperature."
  return [Figure("What a place looks at", caption, attention), *drawn], scenes


def _scene(video: "tracking.Video", trackers: Mapping[str, Tracker], rows: Mapping[str, Row]) -> "Scene":
  from sslx.evaluation.tracking import attention
  from sslx.report.attention import Scene

  later, frames = min(AHEAD, len(video.frames) - 1), np.asarray(video.frames[: AHEAD + 1])
  maps = {}
  for name, tracker in trackers.items():
    settings = rows[name]["settings"]
    part = video._replace(frames=frames)
    before, after = tracker.features(part, settings["patch"])[[0, later]]
    h, w = after.shape[:2]
    places = [attention(after, before, (i, j), settings["temperature"]) for i in range(h) for j in range(w)]
    maps[name] = np.stack(places).reshape(h, w, *before.shape[:2])
  return Scene(video.name, frames[later], frames[0], maps)


def _attention(scenes: "Sequence[Scene]") -> Any:
  """Of each scene the place in the middle of what changed most between its two frames."""
  from sslx.report import figures

  scenes = scenes[:PLACES]
  places = [_moved(scene) for scene in scenes]
  maps = {}
  for name in scenes[0].maps:
    picked = []
    for scene, (row, column) in zip(scenes, places, strict=True):
      h, w = scene.maps[name].shape[:2]
      height, width = scene.frame.shape[:2]
      picked.append(scene.maps[name][min(h - 1, row * h // height), min(w - 1, column * w // width)])
    maps[name] = np.stack(picked)
  return figures.attention_rows(
    np.stack([scene.frame for scene in scenes]), np.stack([scene.reference for scene in scenes]), places, maps
  )


def _moved(scene: "Scene") -> tuple[int, int]:
  """The pixel about which the two frames differ most, smoothed over its surroundings."""
  from scipy import ndimage

  change = np.abs(scene.frame.astype(np.float32) - scene.reference).mean(-1)
  row, column = np.unravel_index(ndimage.gaussian_filter(change, 3).argmax(), change.shape)
  return int(row), int(column)


def link(directory: Path, scenes: "Sequence[Scene]", dataset: str) -> "list[Link]":
  """Writes the page of attention, and says where it is."""
  from sslx.report.attention import write_attention
  from sslx.report.pages import Link

  path = write_attention(
    directory / "attention.html",
    "What does a place look at?",
    f"{dataset} · a frame, and {AHEAD} frames before it",
    scenes,
  )
  return [Link(path.name, "What a place looks at", "click a place of a frame, and see where each encoder finds it")]


def told(dataset: "Dataset", videos: Videos) -> str:
  """What is tracked, in a line."""
  frames = [len(video.frames) for video in videos.test]
  objects = sum(int(np.asarray(video.masks[0]).max()) for video in videos.test)
  lengths = f"{min(frames)}" if min(frames) == max(frames) else f"{min(frames)} to {max(frames)}"
  return f"{dataset.name}: {len(frames)} videos of {lengths} frames, {objects} objects"
