"""What experiments.words asks vectors of words, and what it shows of their answers: rows, tables, pictures, a page."""

import hashlib
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli, runs
from experiments.shared.publish import SMOKE
from sslx.types import Refusal, UserError

if TYPE_CHECKING:
  from sslx import nn, report
  from sslx.data.word_tests import Question, Rated
  from sslx.evaluation.words import Section
  from sslx.ops.text import Vocabulary
  from sslx.report.pages import Figure

Row = dict[str, Any]
RANDOM, PPMI = "random", "ppmi_svd"
WINDOW = 5  # of ppmi_svd, where the method has none
WELL_KNOWN = ("row", "maximum", "red", "sine", "array", "thread", "king", "river", "money", "day", "daughter", "seven")
"""Words whose neighbours anyone can judge: some of programs, some of life."""
FREQUENT = 50  # times that a word stands in the text, from which on its neighbours say something
SHOWN, NEAR = 8, 5  # words, and neighbours of each
PANELS, PAIRS, FEWEST = 9, 8, 4  # of the picture: kinds of pairs, pairs of a kind, and how many a kind needs
NOTE = (
  "Percent of the analogies that are answered right, of those whose four words the vocabulary holds, by 3CosAdd, and "
  "where it says so by 3CosMul. random: the vectors before training. ppmi_svd: no network, a truncated SVD of the "
  "matrix of positive pointwise mutual information, of the same windows."
)
LIKENESS = (
  " {}: Spearman's correlation with what people say of pairs of words, with its 95% interval, or of several "
  "pretrainings mean ± standard deviation."
)


class Asked(NamedTuple):
  """What all vectors are asked."""

  questions: "dict[str, list[Question]]"
  """Of each section."""
  rated: "dict[str, list[Rated]]"
  """Pairs that people have rated, by the name of their file."""

  @property
  def digest(self) -> str:
    """Of all of it."""
    return hashlib.blake2b(repr((self.questions, self.rated)).encode(), digest_size=8).hexdigest()


def asked(questions: str | None, similarity: Sequence[str]) -> Asked:
  """Of the files of --questions and --similarity; without the first, of the pairs that come with sslx.

  Raises:
    UserError: a file that is not one of these.
  """
  from sslx.data import word_tests

  made = word_tests.read_questions(questions) if questions else word_tests.questions_of(word_tests.own_pairs())
  return Asked(made, {Path(path).stem: word_tests.read_similarity(path) for path in similarity})


def check(method: str, encoder: "nn.Encoder") -> None:
  """Raises Refusal where what a method trains has no vector for each word."""
  from sslx.word_vectors import BLOCKS

  if not {*BLOCKS} & {*encoder.block_names}:
    raise Refusal(
      f"--method={method}: learns no vectors of words with this encoder; give skipgram or cbow, or --encoder=words."
    )


def measure(
  jobs: "Sequence[runs.Job]", vocabulary: "Vocabulary", asked: Asked
) -> tuple[list[Row], dict[str, np.ndarray]]:
  """(a row for each of the jobs and of the references, the first vectors f32 [V,d] of each by name); pretrains what is
  not there yet.
  """
  from sslx.evaluation import features
  from sslx.word_vectors import table

  rows: list[Row] = []
  first: dict[str, np.ndarray] = {}

  def add(name: str, vectors: np.ndarray | None, seconds: float, seed: int | None, pretraining: Row | None) -> None:
    assert vectors is not None
    row = {"vectors": name, "seed": seed, "pretraining": pretraining, **answers(vectors, vocabulary, asked)}
    rows.append({**row, "seconds": seconds})
    first.setdefault(name, vectors)

  references = []
  for job in jobs:
    config = job.config
    represent, seconds = runs.pretrain(job)
    cli.say(f"asking {config.method}, seed {config.seed}")
    add(config.method, table(represent.params), seconds, config.seed, config.to_json())
    if config.method == jobs[0].config.method:
      untrained = features.random(represent, job.dataset)(config.seed)
      references.append((RANDOM, table(untrained.params), 0.0, config.seed, None))
  for reference in references:
    add(*reference)
  begin = time.monotonic()
  add(PPMI, factorised(jobs[0], vocabulary, rows[0]["dimensions"]), time.monotonic() - begin, None, None)
  return rows, first


def factorised(job: "runs.Job", vocabulary: "Vocabulary", width: int) -> np.ndarray:
  """f32 [V,width]: the SVD of the matrix of mutual information of a job's text, in its windows; kept in its directory,
  where other questions find it.
  """
  from sslx.evaluation import ppmi
  from sslx.report import records

  window = int(job.config.hp.get("window", WINDOW))
  path = job.directory / f"{PPMI}_{width}_{window}.npy"
  if not path.exists():
    cli.say(f"an SVD of {width} dimensions of which words stand within {window} of each other")
    file = io.BytesIO()
    np.save(file, ppmi.vectors(job.dataset.pretraining_x, vocabulary, width, window))
    records.write_bytes(path, file.getvalue())
  return np.load(path)


def answers(vectors: np.ndarray, vocabulary: "Vocabulary", asked: Asked) -> Row:
  """What vectors f32 [V,d] answer, as a row has it."""
  from sslx.evaluation import words

  sections = words.analogies(vectors, vocabulary, asked.questions)
  likeness = {name: words.likeness(vectors, vocabulary, pairs)._asdict() for name, pairs in asked.rated.items()}
  return {
    "dimensions": vectors.shape[1], "vocabulary": len(vocabulary),
    "analogies": [section._asdict() for section in sections], "likeness": likeness,
  }  # fmt: skip


def shown(given: Sequence[str], vocabulary: "Vocabulary", asked: Asked) -> list[str]:
  """Words whose neighbours are told: those of --show, or well-known ones and those that are asked for, of which the
  text has enough.

  Raises:
    UserError: one that is given and that the vocabulary lacks.
  """
  from sslx import options
  from sslx.ops.text import FIRST

  for word in given:
    if word not in vocabulary.ids:
      near = options.close(word, vocabulary.words)
      hint = f"; near it are {', '.join(near)}" if near else ""
      raise UserError(f"--show={word}: the vocabulary of {len(vocabulary):,} words does not hold it{hint}.")
  words = dict.fromkeys([*WELL_KNOWN, *(q[0] for section in asked.questions.values() for q in section)])
  counts = {word: int(vocabulary.counts[vocabulary.ids[word] - FIRST]) for word in words if word in vocabulary.ids}
  return list(given) or sorted(counts, key=lambda word: counts[word] < FREQUENT)[:SHOWN]


def headline(rows: Sequence[Row]) -> str:
  """How many analogies the first method answers, beside the references; of a smoke run, that it says nothing."""
  if cli.FLAGS.smoke:
    return SMOKE
  shares = {}
  for row in rows:
    shares.setdefault(row["vectors"], []).append(_percent(_totals(row)[-1], "add"))
  told = [f"{name} {_mean(values)}%" for name, values in shares.items() if _mean(values)]
  if not told:
    return "No question has all its words in the vocabulary: nothing could be asked."
  return f"Analogies answered right (3CosAdd): {', '.join(told)}."


# ---- tables ----------------------------------------------------------------------------------------------------------


def tables(rows: Sequence[Row]) -> "list[report.Table]":
  """All scores of each kind of vectors, and the analogies by section."""
  from sslx import report

  groups = {name: [row for row in rows if row["vectors"] == name] for name in dict.fromkeys(r["vectors"] for r in rows)}
  counts = {section.name: section for section in _totals(rows[0])}
  headers = ["vectors", "dimensions", *counts, "all, 3CosMul", *rows[0]["likeness"]]
  lines = []
  for name, group in groups.items():
    totals = [{section.name: section for section in _totals(row)} for row in group]
    scores = [[_percent(each[part], "add") for each in totals] for part in counts]
    scores.append([_percent(each["all"], "mul") for each in totals])
    told = [_likeness([row["likeness"][file] for row in group]) for file in rows[0]["likeness"]]
    lines.append([name, str(group[0]["dimensions"]), *map(_spread, scores), *told])
  covered = [f"{name} {each.inside:,} of {each.questions:,}" for name, each in counts.items()]
  covered += [f"{name} {each['inside']} of {each['pairs']}" for name, each in rows[0]["likeness"].items()]
  likeness = LIKENESS.format(", ".join(rows[0]["likeness"])) if rows[0]["likeness"] else ""
  note = f"{NOTE}{likeness} Inside the vocabulary: {', '.join(covered)}."
  first = report.Table("Vectors of words", report.Cells(headers, lines), note)
  return [first, _by_section(groups)]


def _by_section(groups: Mapping[str, Sequence[Row]]) -> "report.Table":
  """3CosAdd and 3CosMul of every section, means over pretrainings."""
  from sslx import report

  lines = []
  for place, told in enumerate(next(iter(groups.values()))[0]["analogies"]):
    cells = []
    for group in groups.values():
      sections = [_sections(row)[place] for row in group]
      add, mul = (_mean([_percent(section, how) for section in sections]) for how in ("add", "mul"))
      cells.append(f"{add} / {mul}" if add else "")
    lines.append([told["name"], f"{told['inside']:,} of {told['questions']:,}", *cells])
  headers = ["section", "questions", *groups]
  note = "Percent right by 3CosAdd / 3CosMul. Sections that begin with gram are the syntactic ones."
  return report.Table("Analogies by section", report.Cells(headers, lines), note)


def neighbours_table(
  words: Sequence[str], vectors: Mapping[str, np.ndarray], vocabulary: "Vocabulary"
) -> "report.Table":
  """The nearest words of each word by each kind of vectors."""
  from sslx import report
  from sslx.evaluation.words import neighbours

  near = {name: neighbours(table, vocabulary, words, NEAR) for name, table in vectors.items()}
  lines = [[word, *(", ".join(other for other, _ in each[word]) for each in near.values())] for word in words]
  return report.Table("Nearest words", report.Cells(["word", *near], lines), "By the cosine, the nearest first.")


def _sections(row: Row) -> "list[Section]":
  from sslx.evaluation.words import Section

  return [Section(**section) for section in row["analogies"]]


def _totals(row: Row) -> "list[Section]":
  from sslx.evaluation.words import totals

  return totals(_sections(row))


def _percent(section: "Section", how: str) -> float | None:
  return 100 * getattr(section, how) / section.inside if section.inside else None


def _mean(values: Sequence[float | None]) -> str:
  known = [value for value in values if value is not None]
  return f"{np.mean(known):.1f}" if known else ""


def _spread(values: Sequence[float | None]) -> str:
  known = [value for value in values if value is not None]
  return _mean(values) + (f" ± {np.std(known, ddof=1):.1f}" if len(known) > 1 else "")


def _likeness(group: Sequence[Mapping[str, Any]]) -> str:
  """`0.54 [0.46, 0.61]` of one pretraining, `0.54 ± 0.01` of several; empty where nothing could be asked."""
  values = [each["spearman"] for each in group if each["spearman"] is not None]
  if len(values) > 1:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
  if not values:
    return ""
  low, high = group[0]["low"], group[0]["high"]
  return f"{values[0]:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None else "")


# ---- the picture -----------------------------------------------------------------------------------------------------


def picture(name: str, vectors: np.ndarray, vocabulary: "Vocabulary", asked: Asked, path: Path) -> "Figure":
  """Draws pairs of each section in the plane, by the vectors called `name`."""
  from sslx.evaluation.words import plane
  from sslx.report.figures import save, word_pairs
  from sslx.report.figures.words import Pairs
  from sslx.report.pages import Figure

  known = {section: _pairs(each, vocabulary) for section, each in asked.questions.items()}
  known = {section: pairs for section, pairs in known.items() if len(pairs) >= FEWEST}
  most = sorted(known, key=lambda section: -len(known[section]))[:PANELS]
  panels = {
    section: Pairs(pairs[:PAIRS], plane(vectors, vocabulary, pairs[:PAIRS]))
    for section, pairs in known.items()
    if section in most
  }
  save(word_pairs(panels, f"{name}: pairs of words"), path)
  caption = (
    "The most frequent pairs of each section, on the two principal axes of these words' vectors. Where a relation is a "
    "direction, its arrows are parallel; of unrelated vectors they are not."
  )
  return Figure(f"{name}: pairs of words", caption, path, "plot")


def _pairs(section: "Sequence[Question]", vocabulary: "Vocabulary") -> list[tuple[str, str]]:
  """The pairs of a section's questions that the vocabulary holds, those of frequent words first, and each word once."""
  ids, pairs, seen = vocabulary.ids, [], set()
  every = dict.fromkeys(pair for a, b, c, d in section for pair in ((a, b), (c, d)) if {*pair} <= ids.keys())
  for pair in sorted(every, key=lambda pair: max(ids[word] for word in pair)):
    if not seen & {*pair}:
      pairs.append(pair)
      seen |= {*pair}
  return pairs
