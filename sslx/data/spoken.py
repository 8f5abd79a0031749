"""The data set `spoken_digits`: English digits by six speakers, which come with sslx.

Zohar Jackson and others, "Free Spoken Digit Dataset", CC BY-SA 4.0: see the README.md beside the recordings.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx import options
from sslx.data.images import within
from sslx.data.lazy import LazyArray, take
from sslx.data.recordings import decoding, lazy, row_of, samples_of
from sslx.data.types import Dataset, Request, Split, sound_classes
from sslx.types import UserError

FOLDER = Path(__file__).parent / "spoken_digits"
RATE = 8000
SECONDS = 1.0  # 20 recordings are longer, up to 2.3 s
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
DIGITS = tuple("0123456789")
TARGETS = ("digit", "speaker")
TEST_TAKES = 5  # takes below are the official test split


class Index(NamedTuple):
  """What is known of each recording: one row of index.csv, in the order of the sound."""

  digits: np.ndarray
  """i32 [3000]."""
  speakers: np.ndarray
  """i32 [3000], places in SPEAKERS."""
  takes: np.ndarray
  """i32 [3000], 0 to 49 of each digit and speaker."""
  ends: np.ndarray
  """i64 [3000]: the sample behind the last of each."""


def spoken_digits(*, speaker: str | None = None) -> str | None:
  """What may stand behind the colon: the speaker who is held out."""
  return speaker


def load_spoken_digits(request: Request) -> Dataset:
  """Recordings i16 [N,T], RAW_PAD behind their ends, and classes: the digit, or who speaks.

  The test split is the official one, takes 0 to 4 of everything (300; 2,700 are for training); or all 500 recordings of
  one speaker, whom training then never hears. Longer ones than `request.seconds` (1 where it is not given) are cut at
  their end.

  Raises:
    UserError: an unknown setting, speaker or target, or a target that a held-out speaker leaves nothing of.
  """
  speaker, target = _speaker(request), _target(request)
  if speaker is not None and target == "speaker":
    raise UserError(
      f"--target=speaker: --dataset={request.spec} holds a speaker out, whom training then never hears; leave one of "
      "the two out"
    )
  index = read_index()
  rate = request.sample_rate or RATE
  length, samples = samples_of(request.seconds or SECONDS, rate), read_samples()
  starts = np.concatenate([[0], index.ends[:-1]])

  def row(place: int) -> np.ndarray:
    wave = samples[starts[place] : index.ends[place]].astype(np.float32) / 32768
    return row_of(wave, RATE, rate, length)

  files = (str(FOLDER / "recordings.flac"),)
  everything = lazy(len(index.ends), length, row, files, decoding(rate))
  y = index.digits if target == "digit" else index.speakers
  tested = index.takes < TEST_TAKES if speaker is None else index.speakers == SPEAKERS.index(speaker)

  def split(rows: np.ndarray) -> Split:
    x = take(everything, rows)
    assert isinstance(x, LazyArray)  # as it is of one
    groups = None if speaker is None else index.speakers[rows]
    return Split(within(x, request.in_memory_limit), y[rows], groups=groups)

  train, test = split(np.flatnonzero(~tested)), split(np.flatnonzero(tested))
  return sound_classes(request.spec, rate, DIGITS if target == "digit" else SPEAKERS, train, test)


def read_index() -> Index:
  """index.csv."""
  with (FOLDER / "index.csv").open(encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
  digits, takes = (np.array([row[name] for row in rows], np.int32) for name in ("digit", "take"))
  speakers = np.array([SPEAKERS.index(row["speaker"]) for row in rows], np.int32)
  return Index(digits, speakers, takes, np.cumsum([int(row["samples"]) for row in rows]))


def read_samples() -> np.ndarray:
  """All recordings one after another, i16."""
  import soundfile

  samples, rate = soundfile.read(FOLDER / "recordings.flac", dtype="int16")
  assert rate == RATE
  return samples


def _speaker(request: Request) -> str | None:
  scheme, _, argument = request.spec.partition(":")
  texts = [text for text in argument.split(",") if text]
  speaker = spoken_digits(**options.parse(spoken_digits, texts, f"--dataset={scheme}:"))
  if speaker is not None and speaker not in SPEAKERS:
    raise UserError(f"--dataset={request.spec}: no such speaker.{options.nearest(speaker, SPEAKERS)}")
  return speaker


def _target(request: Request) -> str:
  target = ",".join(request.targets) or TARGETS[0]
  if target not in TARGETS:
    raise UserError(f"--target={target}: {request.spec} is of one target.{options.nearest(target, TARGETS)}")
  return target
