"""What word vectors are asked: analogies (a is to b as c is to d), and how similar two words are to people.

Questions of others are read from files that the user gives; pairs of our own, made of words that are frequent in
`python_docs`, come with sslx, and are written by hand: pairs.txt.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sslx.data.text_files import decoded
from sslx.types import UserError

Question = tuple[str, str, str, str]
PAIRS = Path(__file__).parent / "pairs.txt"
SYNTACTIC = "gram"
"""What the names of sections begin with that ask about grammar, in Google's file and in ours."""
_SCORES = ("simlex999", "human (mean)", "score", "similarity")  # what the column of the scores is called


class Rated(NamedTuple):
  """Two words, and how similar people find them."""

  first: str
  second: str
  score: float


def own_pairs() -> dict[str, list[tuple[str, str]]]:
  """{section: pairs of words that stand in one relation} of pairs.txt."""
  pairs: dict[str, list[tuple[str, str]]] = {}
  for line in PAIRS.read_text("utf-8").splitlines():
    if line.startswith(":"):
      pairs[line[1:].strip()] = section = []
    elif line.strip():
      first, second = line.split()
      section.append((first, second))
  return pairs


def questions_of(pairs: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, list[Question]]:
  """{section: questions}: each pair with each other one of its section, in both orders, where all four words differ."""
  return {
    section: [(*one, *other) for one in each for other in each if len({*one, *other}) == 4]
    for section, each in pairs.items()
  }


def read_questions(path: str) -> dict[str, list[Question]]:
  """{section: questions, in lower case} of a file in the format of Google's questions-words.txt: lines of four words,
  and above them lines of a colon and the name of their section.

  Raises:
    UserError: naming --questions, the file, and the line that is not so.
  """
  sections: dict[str, list[Question]] = {}
  name = "questions"  # where the file has no sections
  for number, line in _lines(path, "questions"):
    if line.startswith(":"):
      name = line[1:].strip() or name
      continue
    words = line.lower().split()
    if len(words) != 4:
      raise UserError(
        f"--questions={path}: line {number} is {_shown(line)}, not four words; give a file in the format of Google's "
        "questions-words.txt"
      )
    sections.setdefault(name, []).append((words[0], words[1], words[2], words[3]))
  if not sections:
    raise UserError(f"--questions={path}: holds no question; give a file in the format of Google's questions-words.txt")
  return sections


def read_similarity(path: str) -> list[Rated]:
  """Pairs, in lower case, of a table with two words and a score a line, as WordSim-353 (separated by tabs or commas)
  and SimLex-999 (whose score is in its column SimLex999).

  Raises:
    UserError: naming --similarity, the file, and the line that is not so.
  """
  rated: list[Rated] = []
  column = None  # of the scores
  for number, line in _lines(path, "similarity"):
    cells = _cells(line)
    if line.startswith("#"):
      continue
    if column is None:
      numeric = [i for i, cell in enumerate(cells) if i > 1 and _score(cell) is not None]
      titled = [i for i, cell in enumerate(cells) if cell.lower() in _SCORES]
      if titled or (not numeric and len(cells) > 2):  # titles of the columns
        column = titled[0] if titled else 2
        continue
      column = numeric[0] if numeric else 2
    score = _score(cells[column]) if column < len(cells) else None
    if score is None or not (cells[0] and cells[1]):
      raise UserError(
        f"--similarity={path}: line {number} is {_shown(line)}, not two words and a score; give a table such as "
        "WordSim-353 or SimLex-999"
      )
    rated.append(Rated(cells[0].lower(), cells[1].lower(), score))
  if len(rated) < 2:
    raise UserError(f"--similarity={path}: holds {len(rated)} pairs; give a table such as WordSim-353 or SimLex-999")
  return rated


def _lines(path: str, flag: str) -> Iterator[tuple[int, str]]:
  """The lines of a file that are not empty, with their numbers. Raises UserError for what is no text."""
  try:
    text = "".join(decoded(path))
  except UserError as error:  # which begins with the path
    raise UserError(f"--{flag}={error}") from error
  return ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _cells(line: str) -> list[str]:
  separator = next((sign for sign in "\t,;" if sign in line), None)
  return [cell.strip() for cell in line.split(separator)]


def _score(cell: str) -> float | None:
  return float(cell) if re.fullmatch(r"[+-]?\d+(\.\d*)?", cell) else None


def _shown(line: str) -> str:
  return repr(line if len(line) <= 40 else f"{line[:40]}...")
