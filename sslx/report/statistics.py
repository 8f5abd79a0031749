"""Rows of results, summarised: means, spreads, and differences to a baseline with their intervals.

A row holds the value of its task's score, as test_NAME, and under "score" how that score is told: its name, its unit
and its direction. Every number that a table, a figure or a sentence shows is written by the functions here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sslx.report import checks
from sslx.report.intervals import FEWEST_PAIRS, RIGHT_ANSWERS, difference_interval, judged_interval
from sslx.report.records import Row
from sslx.types import Score, UserError

KEYS = ("method", "dataset", "encoder", "labels", "mode")
REFERENCES = {
  "majority": "always the most frequent class",
  "raw": "a probe on the signal itself",
  "lsa": "a probe on the principal directions of bags of words",
  "random": "a frozen untrained encoder",
  "raw+propagate": "label propagation over raw signals",
  "raw+propagate:cmn": "the same with class-mass normalisation",
  "raw+self_train": "self-training from random weights and labels propagated over raw signals",
}  # what they are, in words


class Entry(NamedTuple):
  """One line of a summary: the rows of one method, data set, encoder, number of labels and mode."""

  method: str
  dataset: str
  encoder: str
  labels: int
  mode: str
  n: int
  """Number of labelled subsets."""
  seeds: list[int]
  """Those of the subsets."""
  values: list[float]
  """The score on each of them, before it is multiplied by the score's factor."""
  mean: float
  std: float | None
  """Sample standard deviation (ddof=1) of the values; None for one value."""
  baseline: str
  """The mode that `difference` is taken to."""
  pairs: int
  """How many subsets the baseline has too."""
  difference: float | None
  """Mean of (value - the baseline's value) over these subsets; None where there are none."""
  low: float | None
  """Where the two-sided 95% interval of the difference begins; see `difference_interval`. None for fewer than two
  pairs."""
  high: float | None
  """Where it ends."""
  parameters_total: int | None
  """Counts of parameters are those of the last row, None where they were not recorded."""
  parameters_trainable: int | None
  parameters_frozen: int | None
  seconds: float | None
  """Mean over the subsets, None where it was not recorded."""
  runs: int
  """How many seeds of pretraining there are among the rows."""
  score: Score = RIGHT_ANSWERS
  reads: str = "pretrained"
  """Whose features the mode starts from: raw, random or pretrained."""
  trains_encoder: bool = False
  test_examples: int | None = None
  """How many examples the score was measured on; None where the rows do not say it."""
  constant_features: float | None = None
  """Mean share of the encoder's features that are the same for all test examples; None where the rows do not say it, or
  read no encoder."""
  modality: str = "image"
  """Of the data set."""
  collapsed: int = 0
  """On how many of the subsets all of them are."""
  folds: int | None = None
  """Without a test split: parts of the cross-validation, whose `values` are; `test_examples` are those of all parts."""
  mean_low: float | None = None
  """Without a test split: where the 95% interval of the mean begins, see `judged_interval`; then where it ends."""
  mean_high: float | None = None

  @property
  def judgement(self) -> str:
    """See `outcome`; "unclaimed" where there is no interval."""
    if self.low is None or self.high is None:
      return "unclaimed"
    return outcome(self.score, self.low, self.high, self.pairs)

  @property
  def is_reference(self) -> bool:
    """Whether it is one of the rows that keep a table honest: what raw signals, or an untrained encoder, give alone."""
    return self.reads == "raw" or (self.reads == "random" and not self.trains_encoder)


def to_json(entry: Entry) -> Row:
  """A row of summary.jsonl; `from_json` reads it."""
  return {**entry._asdict(), "score": entry.score._asdict()}


def from_json(row: Mapping[str, Any]) -> Entry:
  """The entry that `to_json`, or a program before scores had names, wrote."""
  values = {"accuracies" if name == "values" and name not in row else name: name for name in Entry._fields}
  kept = {name: row[key] for key, name in values.items() if key in row}
  return Entry(**{**kept, "score": score_of(row), "reads": reads_of(row), "trains_encoder": trains_encoder(row)})


def reads_of(row: Mapping[str, Any]) -> str:
  """Whose features the row's mode starts from. A row that is older than this entry says it by its mode's name."""
  mode = str(row.get("mode", ""))
  older = "raw" if mode.startswith("raw") else "random" if mode in ("random", "scratch") else "pretrained"
  return row.get("reads", older)


def trains_encoder(row: Mapping[str, Any]) -> bool:
  """Whether the row's mode trains the encoder; of an older row as in `reads_of`."""
  mode = str(row.get("mode", ""))
  older = mode in ("scratch", "full") or mode.startswith("last:") or mode.endswith("self_train")
  return row.get("trains_encoder", older)


# ---- the score of a row ----------------------------------------------------------------------------------------------


def score_of(row: Mapping[str, Any]) -> Score:
  """How the row's score is told. A row that is older than scores holds the share of right answers."""
  return Score(**row["score"]) if row.get("score") else RIGHT_ANSWERS


def value_of(row: Mapping[str, Any]) -> Any:
  """The score of a row of results on the test split; None where it has none."""
  return row.get(f"test_{score_of(row).name}")


def shared_score(summary: Sequence[Entry]) -> Score:
  """The one score of a summary."""
  return summary[0].score if summary else RIGHT_ANSWERS


def decimals(score: Score) -> int:
  """How many are written: one where a score is multiplied to be in its unit, as percents are, else three."""
  return 1 if score.factor >= 10 else 3


def number(score: Score, value: float) -> str:
  """`86.3`: a score in its unit."""
  return f"{score.factor * value:.{decimals(score)}f}"


def quantity(score: Score, value: float) -> str:
  """`86.3%`, `21.000 dB`: a score with its unit."""
  return f"{number(score, value)}{'' if score.unit == '%' else ' '}{score.unit}".rstrip()


def change(score: Score, difference: float) -> str:
  """`+3.1`: a difference between two scores."""
  return f"{score.factor * difference:+.{decimals(score)}f}"


def change_quantity(score: Score, difference: float) -> str:
  """`+3.1 points`: a difference between two scores with its unit."""
  return f"{change(score, difference)} {score.difference}".rstrip()


def interval(low: float, high: float, score: Score = RIGHT_ANSWERS) -> str:
  """`[+1.9, +4.3]`: an interval of a difference."""
  return f"[{change(score, low)}, {change(score, high)}]"


def heading(score: Score) -> str:
  """`mIoU %`: what stands above a column of scores."""
  return f"{score.name} {score.unit}".rstrip()


def title(score: Score) -> str:
  """`Accuracy`, `mIoU`: a score's name where a line begins with it; a name with capitals of its own stays."""
  return score.name.capitalize() if score.name.islower() else score.name


def goodness(score: Score, value: float) -> float:
  """Larger where the score is better."""
  return value if score.higher_is_better else -value


def outcome(score: Score, low: float, high: float, pairs: int) -> str:
  """ "better", "worse" or "level", by the 95% interval of a difference over so many pairs.

  "unclaimed" where the interval leaves zero out, but the pairs are fewer than FEWEST_PAIRS: two subsets may differ
  alike by chance.
  """
  if low <= 0 <= high:
    return "level"
  if pairs < FEWEST_PAIRS:
    return "unclaimed"
  return "better" if (low > 0) == score.higher_is_better else "worse"


# ---- summary ---------------------------------------------------------------------------------------------------------


def summarise(rows: Iterable[Mapping[str, Any]], baseline: str = "scratch") -> list[Entry]:
  """One entry per (method, dataset, encoder, labels, mode): labels ascending, the rest in the order first seen.

  Of rows that share all of these and the seed of their subset, the last counts. The baseline of an entry is the one of
  the same dataset, labels and encoder, and of the same method where there is one.

  Raises:
    UserError: a row without mode, labels, subset_seed or a finite score, or with an entry of a wrong type, or rows of
      different scores.
  """
  groups: dict[tuple, dict[int, Mapping[str, Any]]] = {}
  score: Score | None = None
  for place, row in enumerate(rows, 1):
    name = checks.result_fault(row, ("mode", "labels", "subset_seed"))
    if name is not None:
      raise UserError(f"results row {place}: {name} is missing or not sound; was it written by another program?")
    other = score_of(row)
    score = score or other
    if other != score:
      raise UserError(
        f"results row {place}: its score is {heading(other)}, that of the rows before it {heading(score)}; summarise "
        "the rows of each score by themselves."
      )
    key = tuple(row.get(name, "") for name in KEYS)
    groups.setdefault(key, {})[row["subset_seed"]] = row
  families = unique(key[:3] for key in groups)
  modes = unique(key[4] for key in groups)
  order = sorted(groups, key=lambda key: (families.index(key[:3]), key[3], modes.index(key[4])))
  return [_entry(key, groups, baseline, score or RIGHT_ANSWERS) for key in order]


def _entry(key: tuple, groups: Mapping[tuple, Mapping[int, Mapping[str, Any]]], baseline: str, score: Score) -> Entry:
  rows = groups[key]
  values = {seed: float(value_of(rows[seed])) for seed in sorted(rows)}
  other = groups.get(reference(groups, key, baseline, raw_modes(groups)), {}) if key[4] != baseline else {}
  paired = [(value, float(value_of(other[seed]))) for seed, value in values.items() if seed in other]
  differences = [value - theirs for value, theirs in paired]
  last = list(rows.values())[-1]
  total, trainable = last.get("parameters_total"), last.get("parameters_trainable")
  seconds = [row["seconds"] for row in rows.values() if row.get("seconds") is not None]
  method, dataset, encoder, labels, mode = key
  tested = min((row["test_examples"] for row in rows.values() if row.get("test_examples")), default=None)
  constant = [row["constant_features"] for row in rows.values() if row.get("constant_features") is not None]
  folds = (last.get("fold") or {}).get("of")
  if folds is not None:
    tested = round(folds * sum(row["test_examples"] for row in rows.values()) / len(rows))
  low, high = difference_interval(differences, np.mean(paired, 0) if paired else (), tested, score, folds)
  ends = judged_interval(list(values.values()), folds, tested or 1, score) if folds else (None, None)
  return Entry(
    method=method,
    dataset=dataset,
    encoder=encoder,
    labels=labels,
    mode=mode,
    n=len(values),
    seeds=list(values),
    values=list(values.values()),
    mean=float(np.mean(list(values.values()))),
    std=float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
    baseline=baseline,
    pairs=len(differences),
    difference=float(np.mean(differences)) if differences else None,
    low=low,
    high=high,
    parameters_total=total,
    parameters_trainable=trainable,
    parameters_frozen=None if total is None or trainable is None else total - trainable,
    seconds=float(np.mean(seconds)) if seconds else None,
    runs=len({row.get("seed") for row in rows.values()}),
    score=score,
    reads=reads_of(last),
    modality=last.get("modality", "image"),
    trains_encoder=trains_encoder(last),
    test_examples=tested,
    constant_features=float(np.mean(constant)) if constant else None,
    collapsed=sum(share == 1 for share in constant),
    folds=folds,
    mean_low=ends[0],
    mean_high=ends[1],
  )


def raw_modes(groups: Mapping[tuple, Mapping[int, Mapping[str, Any]]]) -> set[str]:
  """Modes of the rows that read raw signals."""
  return {key[4] for key, rows in groups.items() if any(reads_of(row) == "raw" for row in rows.values())}


def gain(
  differences: Sequence[float],
  score: Score = RIGHT_ANSWERS,
  means: Iterable[float] = (),
  test_examples: int | None = None,
) -> tuple[str, float, float]:
  """("+5.7 points [+4.9, +6.5]", 0.049, 0.065): the mean of differences between scores, two at least, and its 95%
  interval; means, test_examples: see `difference_interval`.
  """
  low, high = difference_interval(differences, means, test_examples, score)
  assert low is not None
  assert high is not None
  return f"{change_quantity(score, float(np.mean(differences)))} {interval(low, high, score)}", low, high


# ---- entries among others --------------------------------------------------------------------------------------------


def key_of(entry: Entry) -> tuple:
  """What tells an entry of a summary from the others."""
  return tuple(getattr(entry, name) for name in KEYS)


def reference(keys: Iterable[tuple], key: tuple, mode: str, raw: Collection[str]) -> tuple:
  """The key of `mode` that `key` may be held against. Neither `scratch`, `raw` nor `random` depends on the pretext, so
  another method's will do; modes that read raw signals (`raw`) do not depend on the encoder either. () if there is
  none.
  """
  method, dataset, encoder, labels, _ = key
  fits = [k for k in keys if (k[1], k[3], k[4]) == (dataset, labels, mode) and (k[2] == encoder or mode in raw)]
  return min(fits, key=lambda k: (k[0] != method, k[2] != encoder), default=())


def judged(summary: Iterable[Entry]) -> list[Entry]:
  """The entries that are held against the baseline: neither it nor a reference."""
  return [entry for entry in summary if entry.mode != entry.baseline and not entry.is_reference]


def varying(summary: Sequence[Entry]) -> list[str]:
  """Which of method, dataset and encoder differ between entries: these need a column, the others a title."""
  return [key for key in KEYS[:3] if len({getattr(entry, key) for entry in summary}) > 1]


def name_of(entry: Entry, summary: Sequence[Entry]) -> str:
  """What sets an entry apart from the others, and its mode: `simclr frozen`."""
  parts = [str(getattr(entry, key)) for key in [*varying(summary), "mode"]]
  return " ".join(part for part in parts if part != "none")


def labels_text(labels: int) -> str:
  """`1 label`, `1,000 labels`."""
  return f"{labels:,} label" + ("" if labels == 1 else "s")


def unique(values: Iterable[Any]) -> list[Any]:
  """Each once, in the order first seen."""
  return list(dict.fromkeys(values))
