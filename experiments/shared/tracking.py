"""What experiments.track compares: pretrained encoders, checkpoints and what learnt nothing; and how they track."""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, pretrainings, runs
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset
  from sslx.data.types import Video
  from sslx.evaluation.tracking import Settings
  from sslx.report.pages import Figure

Row = dict[str, Any]
DATA, METHOD = "moving_digits", "temporal_colour"  # unless the flags say otherwise
IDENTITY, RAW, RANDOM, GRID = "identity", "raw", "random", "true masks, on the grid"
STRIDE = 4  # of grey patches: pixels from one to the next
SMOKE_VIDEOS = 3


class Trained(NamedTuple):
  """A pretrained encoder, and where it is kept."""

  name: str
  seed: int
  config: Row
  """Of its pretraining, as in the rows."""
  represent: "nn.Representation"
  directory: Path
  figures: "Sequence[Figure]" = ()
  """What its method sees and makes."""


class Tracker(NamedTuple):
  """What finds places again: a line of the table."""

  name: str
  seed: int | None
  stride: int
  """Pixels from one place to the next."""
  features: "Callable[[Video, int], np.ndarray]"
  """(video, size of patches, which encoders do not read) -> f32 [T,h,w,D]."""
  config: Row | None = None
  """Of its pretraining."""


class Videos(NamedTuple):
  """What is tracked."""

  test: "Sequence[Video]"
  validation: "Sequence[Video]"
  """On which settings are chosen."""


def given() -> "tuple[list[Trained], Dataset]":
  """(the encoders of --checkpoint, or those of --methods, which are pretrained; the data set).

  Raises:
    UserError: a checkpoint that reads neither clips nor images in colour, or a data set of no videos.
  """
  if FLAGS.checkpoint is not None:
    return _checkpoints()
  from sslx.evaluation.frames import stride_of

  names = pretrainings.named(DATA, METHOD)
  dataset = _of_videos(runs.load_dataset(FLAGS.dataset))
  for name in names:  # before anything is trained
    body = runs.encoder_of(cli.config(name), dataset).body
    stride_of(body, block_of(body))
  return [_pretrained(job) for job in pretrainings.jobs(names, dataset)], dataset


def _pretrained(job: runs.Job) -> Trained:
  from experiments.shared import pictures

  represent, _ = runs.pretrain(job)
  figures = pictures.drawn(job.directory / "figures", job.dataset.task.score)
  config = job.config
  return Trained(config.method, config.seed, config.to_json(), represent, job.directory, figures)


def _checkpoints() -> "tuple[list[Trained], Dataset]":
  from sslx.training.run import representation

  trained, of_clips = [], None
  for folder in folders(FLAGS.checkpoint):
    tree, meta = runs.read_checkpoint(folder)
    shape = meta.config.x_shape
    if meta.modality not in ("video", "image") or shape[-1] != 3:
      raise UserError(
        f"--checkpoint={folder}: reads {meta.modality} data of shape {shape}; to track, an encoder must read clips, or "
        "images in colour."
      )
    of_clips = of_clips or (meta if meta.modality == "video" else None)
    config, represent = runs.config_of(meta), representation(meta, tree)
    trained.append(Trained(meta.config.method, meta.config.seed, config, represent, folder))
  if not of_clips:
    cli.default(dataset=DATA)
  dataset = _of_videos(runs.recorded_dataset(of_clips) if of_clips else runs.load_dataset(FLAGS.dataset))
  for each in trained:
    _check_size(each, dataset)
  named = titles([each.config for each in trained])
  return [each._replace(name=name) for each, name in zip(trained, named, strict=True)], dataset


def titles(configs: Sequence[Row]) -> list[str]:
  """What runs are called: by their method, and where several of a method differ in more than the seed, by as much of
  that as tells them apart.
  """

  def told(config: Row) -> dict[str, str]:
    settings = {name: str(config[name]) for name in ("dataset", "encoder", "steps", "batch_size", "learning_rate")}
    return settings | {name: str(value) for name, value in config["hp"].items()}

  names = []
  for config in configs:
    others = [told(other) for other in configs if other["method"] == config["method"]]
    own = told(config)
    differs: list[str] = []
    for name in own:
      more = [*differs, name]
      if _kinds(others, more) > _kinds(others, differs):
        differs = more
    parts = [own[name] if name in ("dataset", "encoder") else f"{name}={own[name]}" for name in differs]
    names.append(f"{config['method']} ({', '.join(parts)})" if parts else config["method"])
  return names


def _kinds(settings: Sequence[dict[str, str]], names: Sequence[str]) -> int:
  """How many different ones these settings are, by those of `names` alone."""
  return len({tuple(each.get(name) for name in names) for each in settings})


def folders(text: str) -> list[Path]:
  """The run directories of --checkpoint: one, or several with commas between them."""
  if text and Path(text).exists():
    return [Path(text)]
  parts = [Path(part) for part in text.split(",") if part]
  if not parts:
    raise UserError("--checkpoint=: name a run directory, or several with commas between them.")
  return parts


def _of_videos(dataset: "Dataset") -> "Dataset":
  if dataset.modality.name != "video":
    raise UserError(
      f"--dataset={dataset.name}: is {dataset.modality.name} data; give videos, such as moving_digits or video:DIR."
    )
  if not dataset.videos.get("test"):
    raise UserError(
      f"--dataset={dataset.name}: no video has masks, of which the first frame's is tracked; give DIR/JPEGImages and "
      "DIR/Annotations, as DAVIS has them."
    )
  return dataset


def _check_size(trained: Trained, dataset: "Dataset") -> None:
  """Raises UserError where an encoder takes one size of frames only, and the videos have another."""
  encoder, made = trained.represent.encoder, tuple(trained.config["x_shape"][-3:])
  for video in dataset.videos["test"]:
    if not encoder.any_size and tuple(video.frames.shape[1:]) != made:
      raise UserError(
        f"--checkpoint={trained.directory}: reads frames of {made[0]}x{made[1]} alone, and {video.name} has "
        f"{video.frames.shape[1]}x{video.frames.shape[2]}; try an encoder of convolutions, such as --encoder=grid."
      )


def videos(dataset: "Dataset") -> Videos:
  """Those that are scored, and clips of moving_digits on which settings are chosen."""
  from sslx import data

  validation = dataset.videos.get("validation")
  if not validation:  # flags such as --size are those of the other videos
    validation = data.load(DATA, FLAGS.data_dir, in_memory_limit=FLAGS.in_memory_limit).videos["validation"]
  test = dataset.videos["test"]
  return Videos(test[:SMOKE_VIDEOS], validation[:SMOKE_VIDEOS]) if FLAGS.smoke else Videos(test, validation)


# ---- what finds places again -----------------------------------------------------------------------------------------


def trackers(trained: Sequence[Trained]) -> list[Tracker]:
  """The encoders, each of their architectures before training with as many seeds, and grey patches."""
  made = [_encoder(each.name, each.seed, each.represent, each.config) for each in trained]
  several = len({each.represent.encoder for each in trained}) > 1
  untrained: dict[tuple, Tracker] = {}
  for each in trained:
    encoder = each.represent.encoder
    name = f"{RANDOM} ({each.config['encoder'].removeprefix('frames+')})" if several else RANDOM
    if (encoder, each.seed) not in untrained:
      untrained[encoder, each.seed] = _encoder(name, each.seed, _untrained(each), None)
  return [*made, *untrained.values(), Tracker(RAW, None, STRIDE, _patches)]


def _untrained(trained: Trained) -> "nn.Representation":
  import jax
  import jax.numpy as jnp

  from sslx import nn

  frame = jnp.zeros((1, *trained.config["x_shape"][-3:]))
  return trained.represent.holding(*nn.init(trained.represent.encoder.body, jax.random.key(trained.seed), frame))


def _encoder(name: str, seed: int | None, represent: "nn.Representation", config: Row | None) -> Tracker:
  from sslx.evaluation.frames import frame_features, stride_of

  body = represent.encoder.body
  block = block_of(body)

  def features(video: "Video", patch: int) -> np.ndarray:
    return frame_features(body, represent.params, represent.stats, video.frames, block, FLAGS.colours)

  return Tracker(name, seed, stride_of(body, block), features, config)


def block_of(body: "nn.Encoder") -> str:
  """The block that --features names, or else the last one. Raises UserError for one that the encoder does not have."""
  from sslx import options

  block = FLAGS.features or body.block_names[-1]
  if block not in body.block_names:
    near = options.nearest(block, body.block_names)
    raise UserError(f"--features={block}: tracking reads one block, and this encoder has none of this name.{near}")
  return block


def _patches(video: "Video", patch: int) -> np.ndarray:
  from sslx.evaluation.frames import patches

  return patches(np.asarray(video.frames), patch, STRIDE, FLAGS.colours)


# ---- tracking --------------------------------------------------------------------------------------------------------


def measure(trackers: "Sequence[Tracker]", videos: Videos, path: Path, made: Row) -> list[Row]:
  """A row for each tracker, for masks that stay, and for the true ones brought to each grid; kept in `path`, so that
  what is there already is not measured again.
  """
  from sslx.report import records

  strides = dict.fromkeys(each.stride for each in trackers)
  several = len(strides) > 1
  jobs: list[tuple[str, int | None, Row | None, Callable[[], Row]]] = [
    *((each.name, each.seed, each.config, functools.partial(_tracked, each, videos)) for each in trackers),
    (IDENTITY, None, None, functools.partial(_scored, _still, videos)),
    *(
      (f"{GRID}{f' of {stride}' if several else ''}", None, None, functools.partial(_scored, _bound(stride), videos))
      for stride in strides
    ),
  ]
  kept, rows = {row["key"]: row for row in records.read_rows(path)}, []
  for name, seed, config, job in jobs:
    key = hashlib.sha256(json.dumps([name, seed, config, made["data"]], sort_keys=True).encode()).hexdigest()[:12]
    if key not in kept:
      begin = time.monotonic()
      row = {"key": key, "tracker": name, "seed": seed, "pretraining": config, **job(), **made}
      kept[key] = {**row, "seconds": time.monotonic() - begin}
      records.append_row(path, kept[key])
    rows.append(kept[key])
  return rows


def _tracked(tracker: Tracker, videos: Videos) -> Row:
  """Settings are chosen, then the test videos are tracked with them, and scored once."""
  from sslx.evaluation import tracking_search as search

  raw, title = tracker.name == RAW, tracker.name if tracker.seed is None else f"{tracker.name}, seed {tracker.seed}"
  cli.say(f"choosing on {len(videos.validation)} clips how {title} copies labels")
  sizes, temperatures = (search.PATCHES, search.RAW_TEMPERATURES) if raw else ((0,), search.TEMPERATURES)
  maps = {size: [tracker.features(video, size) for video in videos.validation] for size in sizes}
  choice = search.choose(maps, videos.validation, tracker.stride, temperatures)
  settings = choice.settings

  def follow(video: "Video") -> np.ndarray:
    return tracked(tracker, video, settings)

  chosen = {"settings": settings._asdict(), "validation": choice.both}
  return chosen | _scored(follow, videos, f"tracking {title}")


def tracked(tracker: Tracker, video: "Video", settings: "Settings") -> np.ndarray:
  """The mask of a video's first frame, tracked through all of them: u8 [T,H,W]."""
  from sslx.evaluation.tracking import track

  return track(tracker.features(video, settings.patch), np.asarray(video.masks[0]), tracker.stride, settings)


def _scored(follow: "Callable[[Video], np.ndarray]", videos: Videos, title: str | None = None) -> Row:
  from sslx.evaluation.segments import score
  from sslx.training.progress import progress

  scores, begin, frames = [], time.monotonic(), 0
  with progress(title, len(videos.test)) as bar:
    bar.begun(0)
    for video in videos.test:
      scores.append(score(video, follow(video)))
      frames += len(video.frames)
      bar.update(len(scores), {}, frames / (time.monotonic() - begin))
  each = [{"name": s.name, "J": s.region, "F": s.boundary, "objects": s.objects.tolist()} for s in scores]
  return {"videos": each}


def _still(video: "Video") -> np.ndarray:
  return np.repeat(np.asarray(video.masks[:1]), len(video.masks), axis=0)


def _bound(stride: int) -> "Callable[[Video], np.ndarray]":
  """True masks, as coarse as a grid of this stride has them."""
  from sslx.evaluation.tracking import through_grid

  def follow(video: "Video") -> np.ndarray:
    masks = np.asarray(video.masks)
    height, width = (-(-size // stride) for size in masks.shape[1:])
    return through_grid(masks, (height, width), stride)

  return follow
