"""What must stand in a row of results.jsonl or summary.jsonl: files are damaged, mended by hand, or another program's.

A row that passes goes through all of `sslx.report` without an error.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sslx.report import records
from sslx.report.records import Row
from sslx.types import Score, UserError

LARGEST = 1e12  # of scores, seconds and counts: the square of nothing larger is wanted, nor its digits on a page


def _text(value: Any) -> bool:
  return isinstance(value, str)


def _number(value: Any) -> bool:
  kinds = (int, float, np.integer, np.floating)
  return isinstance(value, kinds) and not isinstance(value, bool) and bool(abs(value) <= LARGEST)  # no NaN is


def _share(value: Any) -> bool:
  return _number(value) and 0 <= value <= 1


def _whole(value: Any) -> bool:
  return isinstance(value, (int, np.integer)) and _number(value)


def _count(value: Any) -> bool:
  return _whole(value) and value >= 0


def _positive(value: Any) -> bool:
  return _whole(value) and value > 0


def _of(kind: type | tuple[type, ...]) -> Callable[[Any], bool]:
  return lambda value: isinstance(value, kind)


def _each(sound: Callable[[Any], bool]) -> Callable[[Any], bool]:
  return lambda value: isinstance(value, list) and all(map(sound, value))


def _having(**kinds: Callable[[Any], bool]) -> Callable[[Any], bool]:
  """A mapping whose entries of these names, where it has them, are sound."""
  return lambda value: (
    isinstance(value, Mapping) and all(name not in value or sound(value[name]) for name, sound in kinds.items())
  )


def _or_none(sound: Callable[[Any], bool]) -> Callable[[Any], bool]:
  return lambda value: value is None or sound(value)


def _score(value: Any) -> bool:
  told = {
    "name": _text,
    "unit": _text,
    "difference": _text,
    "factor": lambda value: _number(value) and value > 0,
    "higher_is_better": _of(bool),
  }
  return _having(**told)(value) and value.keys() <= set(Score._fields)


KINDS: dict[str, Callable[[Any], bool]] = {
  "method": _text, "dataset": _text, "encoder": _text, "mode": _text, "labels": _positive, "subset_seed": _whole,
  "fold": _having(repetition=_count, number=_count, of=_positive),
  "settings": _having(validation=_text, subset=_text, labels_crc32=_or_none(_count)), "flags": _of(Mapping),
  "experiment": _text, "features": _of((str, int)), "command": _text, "git": _text, "device": _text,
  "versions": _of(Mapping), "chosen": _of(Mapping),
  "pretraining": _having(method=_text, dataset=_text, seed=_or_none(_whole)),
  "reads": lambda value: value in ("raw", "random", "pretrained"), "trains_encoder": _of(bool), "modality": _text,
  "seed": _whole,
  "parameters_total": _count, "parameters_trainable": _count, "parameters_frozen": _whole, "seconds": _number,
  "test_examples": _positive, "constant_features": _share, "collapsed": _count,
  # of summary.jsonl
  "n": _positive, "seeds": _each(_whole), "values": _each(_number), "accuracies": _each(_number), "mean": _number,
  "std": _number, "baseline": _text, "pairs": _count, "difference": _number, "low": _number, "high": _number,
  "runs": _count,
}  # fmt: skip
NEEDED = ("method", "dataset", "encoder", "mode", "labels", "subset_seed")  # of what is on a page by itself
SUMMARY = (  # are in a row of summary.jsonl, if only as None
  "std", "difference", "low", "high", "parameters_total", "parameters_trainable", "parameters_frozen", "seconds",
)  # fmt: skip


def fault(row: Mapping[str, Any], needed: Iterable[str]) -> str | None:
  """The name of an entry that is missing, or of another type or size than it should be; None where there is none.

  needed: names that must be there; others may be missing or None.
  """
  score = row.get("score")
  if score and not _score(score):
    return "score"
  needed = list(needed)
  for name in [*needed, *(name for name in KINDS if name not in needed)]:
    value = row.get(name)
    if (name in needed) if value is None else not KINDS[name](value):
      return name
  return None


def result_fault(row: Mapping[str, Any], needed: Iterable[str]) -> str | None:
  """The same of a row of results, whose score on the test split is needed too."""
  name = fault(row, needed)
  if name is not None:
    return name
  score = Score(**row["score"]) if row.get("score") else Score()
  value = row.get(f"test_{score.name}")
  share = (score.unit, score.factor) == ("%", 100)
  sound = _share(value) if share else _number(value)
  return None if sound else f"test_{score.name}"


def summary_fault(row: Mapping[str, Any]) -> str | None:
  """The same of a row of summary.jsonl, where older ones call the values accuracies."""
  name = fault(row, (*NEEDED[:-1], "n", "seeds", "mean", "baseline", "pairs", "runs"))
  name = name or next((each for each in SUMMARY if each not in row), None)
  return name or (None if "values" in row or "accuracies" in row else "values")


def read_results(path: Path, needed: Iterable[str] = NEEDED) -> list[Row]:
  """The rows of a results.jsonl; [] if there is no such file.

  Raises:
    UserError: a damaged line, or a row that `result_fault` finds one in: the file and the number of the line.
  """
  return [row for _, row in numbered_results(path, needed)]


def numbered_results(path: Path, needed: Iterable[str] = NEEDED) -> list[tuple[int, Row]]:
  """`read_results`, each with the number of its line."""
  numbered = records.numbered_rows(path)
  for number, row in numbered:
    name = result_fault(row, needed)
    if name is not None:
      raise UserError(f"{path}: line {number} has no sound {name}; remove or mend that line")
  return numbered
