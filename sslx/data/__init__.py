"""Data by name: `load("mnist")`. A dataset, or a kind of file, is one entry in DATASETS.

This package is the only importer of tensorflow_datasets and grain, and imports them only when they are used.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sslx import options
from sslx.data.array_records import load_array_record
from sslx.data.audio import load_audio
from sslx.data.check import checked
from sslx.data.coco import load_coco
from sslx.data.davis import load_davis
from sslx.data.folder import load_folder
from sslx.data.hub import load_hf
from sslx.data.idx_sets import load_fashion_mnist, load_idx, load_mnist
from sslx.data.images import colour, resized, without_size_warnings
from sslx.data.lazy import LazyArray
from sslx.data.limits import check_limits, frame_size
from sslx.data.motion import MovingDigits
from sslx.data.moving_digits import load_moving_digits
from sslx.data.npz import load_npz
from sslx.data.parquet import load_parquet
from sslx.data.python_docs import load_python_docs
from sslx.data.render import Scenes
from sslx.data.scenes import load_scenes
from sslx.data.spoken import load_spoken_digits, spoken_digits
from sslx.data.table import load_table
from sslx.data.text import load_text
from sslx.data.types import Dataset, Request, Split
from sslx.data.unknown import unknown
from sslx.data.urls import is_url
from sslx.data.video import load_video
from sslx.data.webdataset import load_webdataset
from sslx.data.words import MIN_COUNT
from sslx.types import UserError, brief

__all__ = ["DATASETS", "Dataset", "LazyArray", "Source", "Split", "load"]


class Source(NamedTuple):
  """One entry of DATASETS."""

  load: Callable[[Request], Dataset]
  help: str
  argument: str = ""
  """What stands after the colon, in brackets where it may be left out; empty for a plain name."""
  modalities: tuple[str, ...] = ("image",)
  """Which of them can depend on the data."""
  tasks: tuple[str, ...] = ("classification",)
  """What it may be for; which of them can depend on the data."""
  targets: str = ""
  """What --target chooses among, in words; empty where there is nothing to choose."""
  files: bool = False
  """Whether its examples are files that --labels_file may label."""
  settings: Callable[..., Any] | None = None
  """Whose keyword-only parameters may stand in its argument, as name=value."""

  __repr__ = brief

  def written(self, name: str) -> str:
    """How it is written behind --dataset: `mnist`, `npz:FILE`, `scenes[:SETTINGS]`."""
    if self.argument.startswith("["):
      return f"{name}[:{self.argument[1:]}"
    return f"{name}:{self.argument}" if self.argument else name


def _tfds(request: Request) -> Dataset:
  from sslx.data import catalogue

  return catalogue.load_catalogue(request)


DATASETS: dict[str, Source] = {
  "mnist": Source(load_mnist, "handwritten digits, 28x28 grey, 60,000 + 10,000; comes with sslx"),
  "fashion_mnist": Source(load_fashion_mnist, "clothing, 28x28 grey, 60,000 + 10,000; IDX in --data_dir, or TFDS"),
  "scenes": Source(
    load_scenes,
    "digits of MNIST on a background, 20,000 + 2,000; scenes:one of one digit each, scenes:hard; then settings",
    "[SETTINGS]",
    tasks=("detection", "segmentation", "regression"),
    targets="numbers: count; of scenes:one y, x, size, angle",
    settings=Scenes,
  ),
  "moving_digits": Source(
    load_moving_digits,
    "clips of textured digits of MNIST that move over a background, 2,000 + 100 of 12 frames; test clips have masks",
    "[SETTINGS]",
    modalities=("video",),
    tasks=("none",),
    settings=MovingDigits,
  ),
  "spoken_digits": Source(
    load_spoken_digits,
    "English digits by six speakers, 8,000 Hz, 2,700 + 300 recordings of 1 s (--seconds); speaker=NAME: all 500 of one "
    "speaker are the test split; comes with sslx",
    "[SETTINGS]",
    modalities=("sound",),
    targets="digit (default) or speaker",
    settings=spoken_digits,
  ),
  "python_docs": Source(
    load_python_docs,
    "paragraphs of docstrings: Python's and of all packages that sslx requires, read once, in seconds; documents (15 "
    "words and more) of the eight largest packages, the rest is unlabeled; --min_count, --max_words, --max_length",
    modalities=("text",),
  ),
  "idx": Source(load_idx, "the four IDX files of MNIST's naming, .gz or not", "DIR"),
  "npz": Source(
    load_npz,
    "train_images, train_labels, [test_images, test_labels, unlabeled_images, class_names]; or unlabeled_images alone",
    "FILE",
    tasks=("classification", "none"),
  ),
  "folder": Source(
    load_folder,
    "DIR/train/CLASS/*.png|jpg|webp|gif|tif|bmp, [DIR/test/CLASS/*], [DIR/unlabeled/*], which may be all there is; or, "
    "in place of classes, images/* and masks/*.png of class indices, [DIR/classes.txt]; --labels_file; or "
    "classes at a URL",
    "DIR",
    tasks=("classification", "segmentation", "none"),
    files=True,
  ),
  "audio": Source(
    load_audio,
    "DIR/train/CLASS/*.wav|flac|ogg|mp3|aiff, [DIR/test/CLASS/*], [DIR/unlabeled/*], which may be all there is; or "
    "DIR/CLASS/*.wav and DIR/testing_list.txt, as Speech Commands has them (its validation files stay in train); "
    "--sample_rate, --seconds, --labels_file",
    "DIR",
    modalities=("sound",),
    tasks=("classification", "none"),
    files=True,
  ),
  "text": Source(
    load_text,
    "plain text, UTF-8, .gz or not: FILE, or *.txt in DIR, a paragraph a line; or documents, DIR/train/CLASS/*.txt, "
    "[DIR/test/CLASS/*], [DIR/unlabeled/*]; --min_count, --max_words, and of documents --max_length, --labels_file",
    "FILE|DIR",
    modalities=("text",),
    tasks=("none", "classification"),
    files=True,
  ),
  "csv": Source(
    load_table,
    "a table with a column path, [split: train, test or unlabeled] and --target columns: numbers, several of 0 and 1, "
    "or classes, which are to be written as text; rows of train where they are empty are unlabeled",
    "FILE",
    tasks=("classification", "regression", "multilabel", "none"),
    targets="the table's columns; default: all but path and split",
  ),
  "coco": Source(
    load_coco,
    "DIR/train/*, DIR/test/* and DIR/annotations/instances_train.json, instances_test.json (or val); with polygons "
    "masks too",
    "DIR",
    tasks=("detection", "segmentation"),
  ),
  "davis": Source(
    load_davis,
    "videos with masks: DIR/JPEGImages, DIR/Annotations and DIR/ImageSets with train.txt and val.txt",
    "DIR",
    tasks=("segmentation",),
  ),
  "video": Source(
    load_video,
    "DIR/VIDEO/*.png|jpg, a folder of frames a video; DIR/*.mp4|avi|mov|mkv|webm, or one such file; or as davis:DIR, "
    "but with lists or without: then clips are of all videos, and those with masks are tracked; --frames, --stride, "
    "--size",
    "FILE|DIR",
    modalities=("video",),
    tasks=("none",),
  ),
  "parquet": Source(
    load_parquet,
    "a file, a folder, a glob in quotes, FILE-{00..12}, or a URL (gs://, s3://, https://); columns of image files "
    "(bytes, or {bytes, path}) and of labels (whole numbers or text); files called train-*, test-*, validation-*, "
    "unlabeled-*, else all are of train",
    "GLOB",
    tasks=("classification", "none"),
    targets="the column of labels; default: the one that is called or declared so",
  ),
  "webdataset": Source(
    load_webdataset,
    "tar files, named as of parquet:, with samples NAME.jpg|png|webp ... and [NAME.cls, a number or a class, or "
    'NAME.json with "label"]',
    "GLOB",
    tasks=("classification", "none"),
  ),
  "array_record": Source(
    load_array_record,
    "ArrayRecord files, named as of parquet:, of tf.train.Example with image or image/encoded, [label or "
    "image/class/label]",
    "GLOB",
    tasks=("classification", "none"),
  ),
  "hf": Source(
    load_hf,
    "the datasets library's: a folder of save_to_disk, or one that load_dataset reads, or NAME[:CONFIG] of the Hugging "
    "Face hub",
    "NAME|DIR",
    tasks=("classification", "none"),
    targets="the column of labels; default: the one that is called or declared so",
  ),
  "tfds": Source(
    _tfds, "a set of the TFDS catalogue for classification of images or sound", "NAME", modalities=("image", "sound")
  ),
}


def load(
  spec: str,
  data_dir: str | None = None,
  image_size: int | None = None,
  in_memory_limit: int = 2 << 30,
  background: str = "white",
  bits: int = 16,
  task: str | None = None,
  targets: Sequence[str] = (),
  sample_rate: int | None = None,
  seconds: float | None = None,
  min_count: int | None = None,
  max_words: int | None = None,
  max_length: int | None = None,
  frames: int | None = None,
  stride: int | None = None,
  size: int | str | tuple[int, ...] | None = None,
  labels_file: str | None = None,
) -> Dataset:
  """Loads the dataset that --dataset names.

  Args:
    spec: a name in DATASETS, or `scheme:argument` where its entry has an argument: `npz:FILE`, `scenes:one` ...
    data_dir: where prepared sets are kept; default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
    image_size: images become image_size x image_size (shorter side scaled, centre cut out), and masks and boxes with
      them (`geometry`); default: as they are.
    in_memory_limit: bytes of decoded images above which a split stays on disk as LazyArray.
    background: the colour behind transparent pictures, as Pillow's ImageColor reads it: a name, #rrggbb ...
    bits: how many of their 16 bits images really use, 8 to 16; the upper eight of these are kept.
    task: which of the tasks that the data has targets for; default: its first.
    targets: which of its columns or numbers are asked for; default: the data's own choice.
    sample_rate: samples a second that sound is resampled to, 4,000 to 192,000; default: as they are.
    seconds: recordings are cut at their end, or padded, to this length, up to 600; default: the data's own choice.
    min_count: how often a word has to stand in a text to be in the vocabulary; default: 5.
    max_words: how many words the vocabulary has at most, the most frequent ones; default: all.
    max_length: words of a document at most, what is behind is cut; default: the data's own choice.
    frames: of a clip of a video, at least 2; default: the data's own choice.
    stride: every how many frames of a video one is taken for a clip; default: the data's own choice.
    size: of the frames of a video: "96x160", height x width, or one number, the shorter side (the longer one then is in
      proportion, rounded to a multiple of 8); default: as they are.

  Returns:
    A Dataset, whose entry in DATASETS says of which modality and task: of images, x is u8 [N,H,W,C], C 1 or 3; of
    sound, i16 [N,T], with RAW_PAD of `sslx.ops.sound` behind the end of what is shorter; of text, i32 [N,T],
    ids of its vocabulary; of video, clips u8 [N,T,H,W,3]; of classes, y is i32 [N].

  Says on stderr what is probably wrong though it can be read: images that are nearly black, labels that are numbered
  anew (`labels.places`).

  Raises:
    UserError: one line that names the flag or file and the cure.
  """
  scheme, colon, argument = spec.partition(":")
  source = DATASETS.get(scheme)
  if source is None:
    raise UserError(unknown(spec, {name: each.written(name) for name, each in DATASETS.items()}))
  if source.argument and not argument and not source.argument.startswith("["):
    raise UserError(f"--dataset={spec}: write {scheme}:{source.argument} ({source.help})")
  if not source.argument and colon:
    raise UserError(f"--dataset={spec}: {scheme} takes nothing after its name; write --dataset={scheme}")
  limited = {
    "image_size": image_size, "sample_rate": sample_rate, "seconds": seconds, "min_count": min_count,
    "max_words": max_words, "max_length": max_length, "frames": frames, "stride": stride, "size": frame_size(size),
  }  # fmt: skip
  check_limits(limited, scheme, source.modalities)
  if targets and not source.targets:
    raise UserError(f"--target={','.join(targets)}: {scheme} has nothing to choose among; leave --target out")
  if labels_file is not None and not source.files:
    taking = ", ".join(each.written(name) for name, each in DATASETS.items() if each.files)
    raise UserError(f"--labels_file={labels_file}: {scheme} takes none; it is for {taking}")
  if not 8 <= bits <= 16:
    raise UserError(f"--bits={bits}: must be between 8 and 16")
  behind = colour(background)
  named = data_dir or os.environ.get("TFDS_DATA_DIR")
  data_dir = os.path.abspath(os.path.expanduser(named or "~/tensorflow_datasets"))
  path = path_of(spec)
  made_of = located(spec).partition(":")[2] if path is None else str(path.absolute())
  request: dict[str, Any] = {
    **limited, "spec": spec, "argument": made_of, "data_dir": data_dir, "in_memory_limit": in_memory_limit,
    "background": behind, "bits": bits, "data_dir_is_given": bool(named), "targets": tuple(targets),
    "min_count": MIN_COUNT if min_count is None else min_count, "labels_file": labels_file,
  }  # fmt: skip
  try:
    with without_size_warnings():
      dataset = source.load(Request(**request))
  except OSError as error:
    raise UserError(f"--dataset={spec}: cannot be read ({error.strerror or error})") from error
  made = dataset.task.name, *dataset.others
  if dataset.modality.name not in source.modalities or not set(made) <= set(source.tasks):
    says = f"{' or '.join(source.modalities)}, {' or '.join(source.tasks)}"
    raise TypeError(f"DATASETS[{scheme!r}] says {says}; its loader made {dataset.modality.name}, {', '.join(made)}")
  dataset = checked(dataset if task is None else dataset.doing(task), image_size)
  if image_size is None:
    return dataset
  splits = {"train": dataset.train, "test": dataset.test, "unlabeled": dataset.unlabeled}
  sized = {
    name: None if split is None else resized(split, image_size, in_memory_limit) for name, split in splits.items()
  }
  return dataclasses.replace(dataset, **sized)


def path_of(spec: str) -> Path | None:
  """The folder or file that a data set's name holds: photos of `folder:photos`. None: none, as of mnist, or one that is
  not of this machine, or several, as of a glob."""
  scheme, _, argument = spec.partition(":")
  source = DATASETS.get(scheme)
  if source is None or source.argument not in ("DIR", "FILE", "FILE|DIR", "NAME|DIR") or not argument:
    return None
  if is_url(argument) or (source.argument == "NAME|DIR" and not os.path.isdir(os.path.expanduser(argument))):
    return None
  return Path(os.path.expanduser(argument))  # of an unknown ~user this is no error, but a folder that is not there


def located(spec: str) -> str:
  """The name with its path from the root, as it can be read from every folder: `folder:/home/me/photos`."""
  (scheme, _, argument), path = spec.partition(":"), path_of(spec)
  if path is None and scheme in DATASETS and DATASETS[scheme].argument == "GLOB" and argument and not is_url(argument):
    path = Path(os.path.expanduser(argument))  # of a glob, its signs stay as they are
  return spec if path is None else f"{scheme}:{os.path.abspath(path)}"


def describe() -> str:
  """One line a data set, for --help: how it is written, what it is, its modality and task; then its settings."""
  lines = []
  for name, source in DATASETS.items():
    kinds = f"{' or '.join(source.modalities)}, {' or '.join(source.tasks)}"
    lines.append(f"  {source.written(name)}  {source.help} ({kinds})")
    if source.settings is not None:
      lines.append(f"      {' '.join(options.assignments(options.resolve(source.settings, {})))}")
  return "\n".join(lines)
