"""What a summary says, in plain sentences. All of it is computed from the entries of `summarise`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sslx.report import statistics
from sslx.report.intervals import FEWEST_PAIRS, RIGHT_ANSWERS, difference_interval
from sslx.report.limits import caveats
from sslx.report.statistics import REFERENCES, Entry, name_of, quantity

MANY = 0.5  # 22 encoders that work, of six methods on three sets of images, have 0.001 to 0.46, by dead relus


class Answer(NamedTuple):
  """What a pretrained encoder is worth on one data set with one number of labels: scores first, then what they allow to
  say.
  """

  method: str
  dataset: str
  encoder: str
  labels: int
  mode: str
  """How the pretrained encoder was used; see `answer` for which of several."""
  compared: int
  """Of how many pretrained encoders this one has the best mean in this mode; 1 where nothing was chosen."""
  pretrained: str
  """`86.7%`: its mean score, with its name where it is not accuracy: `mIoU 45.0%`."""
  baseline_mode: str
  """`scratch`."""
  baseline: str
  """The baseline's mean score, as in `pretrained`; empty where there is none."""
  difference: str
  """`+3.5 points`, paired by labelled subset; empty where there is no subset in common."""
  interval: str
  """Of the difference: `[+2.6, +4.4]`; empty for fewer than two pairs."""
  judgement: str
  """See `Entry.judgement`: better, worse, level or unclaimed. Only the first three may be shown as a result."""
  sentence: str
  """All of it in one sentence, with a full stop."""
  remarks: tuple[str, ...]
  """Sentences without which the first would be misread: what other modes reach, and references that are as good."""

  @property
  def text(self) -> str:
    """The sentence and its remarks."""
    return " ".join([self.sentence, *self.remarks])


def answer(summary: Sequence[Entry]) -> list[Answer]:
  """The first thing to say of a summary, once for each data set and number of labels: `denoise on mnist, 100 labels:
  86.7% frozen, 83.1% from scratch (+3.5 points, 95% CI [+2.6, +4.4]: better).`

  Of several modes that use the pretrained encoder, the answer is that of the one which comes first in the summary, as
  --modes names it first: it was chosen before there were results, so that its interval is what it says. The mode with
  the best mean would partly be the luckiest one. Of several encoders (methods) the best in this mode is taken, which
  nobody can name before; the sentence says of how many it is the best. [] where no pretrained encoder was tested.
  """
  answers = []
  tested = [entry for entry in statistics.judged(summary) if entry.reads == "pretrained"]
  for place in statistics.unique((entry.dataset, entry.labels) for entry in tested):
    entries = [entry for entry in tested if (entry.dataset, entry.labels) == place]
    rivals = [entry for entry in entries if entry.mode == entries[0].mode]
    first = max(rivals, key=lambda entry: statistics.goodness(entry.score, entry.mean))
    answers.append(_answer(first, len(rivals), summary))
  return answers


def _answer(entry: Entry, compared: int, summary: Sequence[Entry]) -> Answer:
  by_key = {statistics.key_of(other): other for other in summary}
  baseline = by_key.get(statistics.reference(by_key, statistics.key_of(entry), entry.baseline, ()))
  ours, theirs = _named(entry), "" if baseline is None else _named(baseline)
  difference = "" if entry.difference is None else statistics.change_quantity(entry.score, entry.difference)
  interval = ""
  if entry.low is not None and entry.high is not None:
    interval = statistics.interval(entry.low, entry.high, entry.score)
  name, encoder = entry.method, f" {entry.encoder}" if "encoder" in statistics.varying(summary) else ""
  best = f" (best mean of {compared})" if compared > 1 else ""
  judge = ", cross-validated" if entry.folds else ""
  text = f"{name}{encoder}{best} on {entry.dataset}, {statistics.labels_text(entry.labels)}{judge}: {ours} {entry.mode}"
  if theirs:
    against = "from scratch" if entry.baseline == "scratch" else f"by {entry.baseline}"
    text += f", {theirs} {against} ({_judged(entry, difference, interval)})"
  else:
    text += f", not compared: no {entry.baseline} row"
  return Answer(
    entry.method, entry.dataset, entry.encoder, entry.labels, entry.mode, compared, ours, entry.baseline, theirs,
    difference, interval, entry.judgement, f"{text}.", tuple(_remarks(entry, summary)),
  )  # fmt: skip


def _named(entry: Entry) -> str:
  """`86.7%`, `mIoU 45.0%`: accuracy alone needs no name."""
  return f"{'' if entry.score == RIGHT_ANSWERS else f'{entry.score.name} '}{quantity(entry.score, entry.mean)}"


def _judged(entry: Entry, difference: str, interval: str) -> str:
  """What stands in the brackets of an answer; the rules are those of `comparisons`."""
  if not difference:
    return "no labelled subset in common: not compared"
  if not interval:
    return f"{difference}, on one labelled subset: too few for an interval, so no claim"
  pairs = f", on {entry.pairs} labelled subsets" if entry.pairs < entry.n or entry.judgement == "unclaimed" else ""
  meaning = {"level": "no measurable difference", "unclaimed": "too few, so no claim"}
  return f"{difference}, 95% CI {interval}{pairs}: {meaning.get(entry.judgement, entry.judgement)}"


def _remarks(entry: Entry, summary: Sequence[Entry]) -> list[str]:
  """Other modes of the same encoder that are judged in another way, and references that are not beaten."""
  key, told = statistics.key_of(entry), []
  others = [e for e in statistics.judged(summary) if statistics.key_of(e)[:4] == key[:4] and e.reads == "pretrained"]
  for judgement, words in (("better", "better"), ("level", "not measurably different"), ("worse", "worse")):
    alike = [f"{e.mode} ({_named(e)})" for e in others if e.judgement == judgement != entry.judgement]
    told += [f"{listed(alike)} {'is' if len(alike) == 1 else 'are'} {words}"] if alike else []
  remarks = [f"Against {entry.baseline}, {', '.join(told)}."] if told else []
  baseline = statistics.reference(map(statistics.key_of, summary), key, entry.baseline, ())
  remarks = constant_features([e for e in summary if statistics.key_of(e) in (key, baseline)]) + remarks
  matched = [f"{other.mode} reaches {_named(other)}" for other in _unbeaten(entry, summary)]
  remarks += [f"Without pretraining, {', '.join(matched)}."] if matched else []
  level = [f"{other.mode} ({_named(other)})" for other in _references(entry, summary) if _is_level(entry, other)]
  return remarks + ([f"{entry.mode} is not measurably better than {listed(level)}."] if level else [])


def _is_level(entry: Entry, other: Entry) -> bool:
  """Whether a better mean is no claim: the 95% interval of the difference, paired by subset, includes zero."""
  mine, theirs = (dict(zip(each.seeds, each.values, strict=True)) for each in (entry, other))
  pairs = [seed for seed in mine if seed in theirs]
  gains = [statistics.goodness(entry.score, mine[seed] - theirs[seed]) for seed in pairs]
  if len(pairs) < FEWEST_PAIRS or statistics.goodness(entry.score, entry.mean - other.mean) <= 0:
    return False
  low, _ = difference_interval(gains, (entry.mean, other.mean), entry.test_examples, entry.score, entry.folds)
  return low is not None and low <= 0


def _unbeaten(entry: Entry, summary: Sequence[Entry]) -> list[Entry]:
  """The references of an entry whose mean is as good or better."""
  others = _references(entry, summary)
  return [other for other in others if statistics.goodness(entry.score, entry.mean - other.mean) <= 0]


def _references(entry: Entry, summary: Sequence[Entry]) -> list[Entry]:
  """What raw signals and untrained encoders reach with the same labels."""
  by_key = {statistics.key_of(other): other for other in summary}
  raw = {other.mode for other in summary if other.reads == "raw"}
  modes = statistics.unique(other.mode for other in summary if other.is_reference)
  keys = (statistics.reference(by_key, statistics.key_of(entry), mode, raw) for mode in modes)
  return [by_key[key] for key in keys if key]


def verdict(summary: Sequence[Entry], answers: Sequence[Answer] = ()) -> list[str]:
  """Each mode against the baseline, then each mode that raw pixels or a random encoder match, then what the intervals
  do not cover. answers: what was said before, and is not said again.
  """
  return [*comparisons(summary, answers), *doubts(summary, answers), *caveats(summary)]


def comparisons(summary: Sequence[Entry], answers: Sequence[Answer] = ()) -> list[str]:
  """Each mode against the baseline, in one sentence each; not those of `answers`."""
  if not summary:
    return ["There are no results yet."]
  compared = statistics.judged(summary)
  if not compared:
    return ["There is no pretrained encoder to judge yet."]
  return [_comparison(entry, summary) for entry in compared if not _is_told(entry, answers)]


def _is_told(entry: Entry, answers: Sequence[Answer]) -> bool:
  return statistics.key_of(entry) in {answer[: len(statistics.KEYS)] for answer in answers}


def _comparison(entry: Entry, summary: Sequence[Entry]) -> str:
  name, baseline, at = name_of(entry, summary), entry.baseline, f"at {statistics.labels_text(entry.labels)}"
  if entry.difference is None:
    if not statistics.reference(map(statistics.key_of, summary), statistics.key_of(entry), baseline, ()):
      return f"{name}: there is no {baseline} row {at}: not compared."
    return f"{name}: no labelled subset in common with {baseline} {at}: not compared."
  over = "over" if entry.score.higher_is_better and entry.difference >= 0 else "against"
  start = f"{name}: {statistics.change_quantity(entry.score, entry.difference)} {over} {baseline} {at}"
  if entry.low is None or entry.high is None:
    return f"{start}, on one labelled subset: too few for an interval, so no claim."
  start += f", 95% CI {statistics.interval(entry.low, entry.high, entry.score)}"
  if entry.judgement == "level":
    return f"{start}: the interval includes zero: no measurable difference."
  if entry.judgement == "unclaimed":
    return f"{start}, on {entry.pairs} labelled subsets: too few, so no claim."
  return f"{start}: {entry.judgement}."


def best(summary: Sequence[Entry], answers: Sequence[Answer] = ()) -> list[str]:
  """For each data set and number of labels, the sentence of the pretrained encoder with the best mean score; not where
  it is one of `answers`.
  """
  sentences = []
  for place in statistics.unique((entry.dataset, entry.labels) for entry in summary):
    entries = [entry for entry in statistics.judged(summary) if (entry.dataset, entry.labels) == place]
    if entries:
      winner = max(entries, key=lambda entry: statistics.goodness(entry.score, entry.mean))
      if _is_told(winner, answers):
        continue
      sentences.append(f"{quantity(winner.score, winner.mean)}: {_comparison(winner, summary)}")
  return sentences


def against(rows: Iterable[Mapping[str, Any]], baseline: str, mode: str = "frozen") -> dict[int, str]:
  """{labels: which methods' `mode` is better than, worse than or level with `baseline`, by the 95% intervals, and of
  which nothing is claimed}, in one sentence.
  """
  sentences, summary = {}, statistics.summarise(rows, baseline)
  varying = statistics.varying(summary)
  unit = statistics.shared_score(summary).difference
  for labels in statistics.unique(entry.labels for entry in summary):
    groups: dict[str, list[str]] = {"better": [], "level": [], "worse": [], "unclaimed": []}
    for entry in summary:
      if (entry.labels, entry.mode) != (labels, mode) or None in (entry.difference, entry.low, entry.high):
        continue
      where = "".join(f" on {getattr(entry, key)}" for key in ("encoder", "dataset") if key in varying)
      assert entry.difference is not None
      groups[entry.judgement].append(f"{entry.method}{where} ({statistics.change(entry.score, entry.difference)})")
    words = {"level": "no measurable difference", "unclaimed": "too few subsets for a claim"}
    parts = [f"{words.get(group, group)}: {', '.join(names)}" for group, names in groups.items() if names]
    if parts:
      units = f", in {unit}" if unit else ""
      at = statistics.labels_text(labels)
      sentences[labels] = f"{mode.capitalize()} against {baseline} at {at}{units}: {'; '.join(parts)}."
  return sentences


def constant_features(summary: Sequence[Entry], answers: Sequence[Answer] = ()) -> list[str]:
  """Which encoders give all test examples the same features, or more than MANY of them; one sentence for all that are
  alike in this. Not those of `answers` and their baselines, whose remarks say it.
  """
  groups: dict[str, list[str]] = {}
  for entry in summary:
    if _is_told(entry, answers) or (answers and entry.mode == entry.baseline):
      continue
    name = name_of(entry, summary)
    if entry.collapsed == entry.n:
      text, name = "the encoder's features do not depend on the input", f"{name} ({quantity(entry.score, entry.mean)})"
    elif entry.collapsed:
      text = f"the encoder's features do not depend on the input on {entry.collapsed} of {entry.n} labelled subsets"
    elif entry.constant_features is not None and entry.constant_features > MANY:
      text = f"{entry.constant_features:.0%} of the encoder's features are the same for all test examples"
    else:
      continue
    groups.setdefault(text, []).append(name)
  return [f"{', '.join(statistics.unique(names))}: {text}." for text, names in groups.items()]


def doubts(summary: Sequence[Entry], answers: Sequence[Answer] = ()) -> list[str]:
  """Encoders whose features say little; each mode that raw pixels or a random encoder match; not those of `answers`,
  whose remarks say it.
  """
  sentences = constant_features(summary, answers)
  for entry in summary:
    if entry.is_reference or _is_told(entry, answers):
      continue
    for other in _unbeaten(entry, summary):
      means = f"{quantity(entry.score, entry.mean)} against {quantity(entry.score, other.mean)}"
      at, mode = statistics.labels_text(entry.labels), other.mode
      meaning = f" ({REFERENCES[mode]})" if mode in REFERENCES else ""
      sentences.append(f"{name_of(entry, summary)} does not beat {mode}{meaning} at {at}: mean {means}.")
  return sentences


def parameters(summary: Sequence[Entry]) -> list[str]:
  """`Parameters: 28,938 in all; frozen trains 11,530 (39.8%), full all of them.`, of the modes with an encoder and a
  head; once for each encoder and data set.
  """
  sentences = []
  keys = [key for key in ("dataset", "encoder") if key in statistics.varying(summary)]
  counted = [entry for entry in summary if entry.parameters_total and entry.parameters_trainable is not None]
  counted = [entry for entry in counted if not entry.is_reference]
  for place in statistics.unique(tuple(getattr(entry, key) for key in keys) for entry in counted):
    entries = [entry for entry in counted if tuple(getattr(entry, key) for key in keys) == place]
    total = max(entry.parameters_total or 0 for entry in entries)
    groups: dict[int, list[str]] = {}
    for entry in entries:
      if entry.parameters_total == total:  # others, such as nearest neighbours, have no head
        groups.setdefault(entry.parameters_trainable or 0, []).append(entry.mode)
    parts = []
    for trained, modes in groups.items():
      names = statistics.unique(modes)
      verb = "" if parts else " train" if len(names) > 1 else " trains"
      share = "all of them" if trained == total else f"{trained:,} ({100 * trained / total:.1f}%)"
      parts.append(f"{listed(names)}{verb} {share}")
    of = f" ({', '.join(map(str, place))})" if place else ""
    sentences.append(f"Parameters{of}: {total:,} in all; {', '.join(parts)}.")
  return sentences


def listed(names: Sequence[str]) -> str:
  """`a, b and c`."""
  return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
