"""Sounds of a page: recordings as FLAC, in data URIs, in a file beside the picture of the same examples."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.report import records

MOST = 4  # recordings of a row
SECONDS = 3.0  # of each that are heard
BYTES = 1_200_000  # of all of a picture: rows have fewer recordings where they would be more


class Row(NamedTuple):
  """Recordings beside each other."""

  title: str
  sounds: list[str]
  """Data URIs."""


class Heard(NamedTuple):
  """What stands below a picture of a page."""

  note: str
  rows: list[Row]


def encoded(wave: np.ndarray, rate: int) -> str:
  """A waveform [T] in [-1, 1] -> the data URI of a FLAC file of 16 bits, which every browser plays."""
  import soundfile

  samples = np.clip(np.round(np.asarray(wave, np.float64) * 32768), -32767, 32767).astype(np.int16)
  file = io.BytesIO()
  soundfile.write(file, samples if len(samples) else np.zeros(1, np.int16), rate, format="FLAC", subtype="PCM_16")
  return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"


def write(picture: Path, note: str, rows: Mapping[str, Sequence[np.ndarray]], rate: int) -> Path:
  """Writes the sounds of a picture into the JSON file beside it, and returns its path.

  rows: {title: waveforms [T] in [-1, 1] of `rate` samples a second}, the same examples in each. The first MOST of each
  are kept, as far as BYTES allow, but at least the first, and of each recording the first SECONDS.
  """
  columns: list[list[str]] = []
  size = 0
  for column in range(min([MOST, *map(len, rows.values())])):
    sounds = [encoded(row[column][: round(SECONDS * rate)], rate) for row in rows.values()]
    size += sum(map(len, sounds))
    if columns and size > BYTES:
      break
    columns.append(sounds)
  kept = [Row(title, [sounds[i] for sounds in columns])._asdict() for i, title in enumerate(rows)]
  path = _beside(picture)
  records.write_text(path, json.dumps({"note": note, "rows": kept}))
  return path


def read(picture: Path) -> Heard | None:
  """What `write` wrote beside a picture; None where there is nothing, or it is damaged."""
  try:
    saved = json.loads(_beside(picture).read_text(encoding="utf-8"))
    rows = [Row(row["title"], [str(sound) for sound in row["sounds"]]) for row in saved["rows"]]
    return Heard(saved["note"], rows)
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _beside(picture: Path) -> Path:
  return picture.with_suffix(".json")
