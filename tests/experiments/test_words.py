"""experiments.words: what it pretrains, asks, writes and refuses."""

import json

import numpy as np
import pytest
from helpers import Page, call, directory

import sslx
from experiments.shared import words
from experiments.shared.publish import SMOKE
from sslx.ops.text import FIRST, Vocabulary
from sslx.report import records

METHOD = "masked_words"  # any that has a vector for each word
PAIRS = [("row", "rows"), ("column", "columns"), ("array", "arrays"), ("line", "lines"), ("word", "words")]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
  """A file of short lines in which the pairs stand."""
  rng = np.random.default_rng(0)
  names = [word for pair in PAIRS for word in pair] + ["a", "the", "of", "red"]
  lines = [" ".join(rng.choice(names, 9)) for _ in range(400)]
  path = tmp_path_factory.mktemp("text") / "corpus.txt"
  path.write_text("\n".join(lines))
  return f"text:{path}"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
  """--questions and --similarity."""
  folder = tmp_path_factory.mktemp("questions")
  asked = [f"{a} {b} {c} {d}" for a, b in PAIRS for c, d in PAIRS if a != c]
  (folder / "questions.txt").write_text("\n".join([": gram-plural", *asked, ": family", "king queen man woman"]))
  rated = [f"{a}\t{b}\t{place}" for place, (a, b) in enumerate([*PAIRS, ("king", "queen")])]
  (folder / "pairs.tsv").write_text("\n".join(rated))
  return {"questions": str(folder / "questions.txt"), "similarity": str(folder / "pairs.tsv")}


@pytest.fixture(scope="module")
def given(corpus, files, tmp_path_factory) -> list[str]:
  out = tmp_path_factory.mktemp("runs")
  asked = [f"--{name}={path}" for name, path in files.items()]
  network = ["--encoder=transformer:width=8,depth=1,heads=2", "--batch_size=8"]
  return [f"--dataset={corpus}", f"--method={METHOD}", *network, *asked, f"--out={out}", "--smoke"]


@pytest.fixture(scope="module")
def made(given):
  """(the run directory of the words, that of the pretraining)."""
  assert call("words", *given, "--pretrainings=2", "--show=row,red") == 0
  out = words.Path(given[-2].partition("=")[2])
  return directory(out, "words-"), out


def test_rows_hold_what_was_asked_of_each_kind_of_vectors(made):
  rows = records.read_rows(made[0] / "words.jsonl")
  assert [(row["vectors"], row["seed"]) for row in rows] == [
    (METHOD, 0), (METHOD, 1), ("random", 0), ("random", 1), ("ppmi_svd", None),
  ]  # fmt: skip
  for row in rows:
    plural, family = row["analogies"]
    assert (plural["name"], plural["group"], plural["questions"], plural["inside"]) == (
      "gram-plural", "syntactic", 20, 20,
    )  # fmt: skip
    assert (family["group"], family["questions"], family["inside"], family["add"]) == ("semantic", 1, 0, 0)
    assert (row["likeness"]["pairs"]["pairs"], row["likeness"]["pairs"]["inside"]) == (6, 5)
    assert -1 <= row["likeness"]["pairs"]["spearman"] <= 1
    assert (row["dimensions"], row["vocabulary"]) == (8, 14)
    assert row["data"]
    assert row["versions"]["sslx"]
  assert [bool(row["pretraining"]) for row in rows] == [True, True, False, False, False]
  assert [row["pretraining"]["seed"] for row in rows[:2]] == [0, 1]
  assert rows[0]["likeness"] != rows[1]["likeness"]
  assert rows[0]["likeness"] != rows[2]["likeness"]


def test_the_vectors_are_those_that_sslx_words_reads(made, files):
  run, out = made
  row = records.read_rows(run / "words.jsonl")[0]
  folders = [path for path in out.iterdir() if path.name.startswith(METHOD)]
  assert len(folders) == 2
  of_seed = {json.loads((path / "config.json").read_text())["seed"]: path for path in folders}
  vectors = sslx.words(of_seed[0])
  vocabulary = Vocabulary(vectors.words, np.ones(14, int), np.ones(14, int), 1)
  asked = words.asked(files["questions"], [files["similarity"]])
  table = np.concatenate([np.zeros((FIRST, 8)), vectors.vectors])
  answers = words.answers(table, vocabulary, asked)
  assert answers["analogies"] == row["analogies"]
  assert answers["likeness"]["pairs"]["spearman"] == pytest.approx(row["likeness"]["pairs"]["spearman"])


def test_the_page_has_tables_neighbours_and_pairs(made):
  run, _ = made
  page = Page((run / "report.html").read_text())
  assert page.tags.count("table") >= 3
  assert page.tags.count("img") == 1
  for text in ("Vectors of words", "Analogies by section", "Nearest words", "gram-plural", "ppmi_svd", "Smoke run"):
    assert text in page.text
  assert "20 of 20" in page.text
  assert "5 of 6" in page.text
  assert (run / "figures" / f"pairs_{METHOD}.png").exists()


def test_started_again_it_trains_and_factorises_nothing(made, given, monkeypatch, capsys):
  from sslx.evaluation import ppmi
  from sslx.training import loop

  def fail(*_, **__):
    pytest.fail("it was made already")

  run, _ = made
  before = records.read_rows(run / "words.jsonl")
  monkeypatch.setattr(ppmi, "vectors", fail)
  monkeypatch.setattr(loop, "fit", fail)
  assert call("words", *given, "--pretrainings=2", "--show=row,red") == 0
  after = records.read_rows(run / "words.jsonl")
  assert [row["analogies"] for row in after] == [row["analogies"] for row in before]
  out = capsys.readouterr().out
  assert SMOKE in out
  assert "± " in out
  assert out.count('sslx.words("') == 1
  assert out.splitlines()[-1].startswith("Report: ")


@pytest.mark.parametrize(
  ("flags", "says"),
  [
    (["--dataset=mnist"], "--dataset=mnist: is image data; give text"),
    (["--show=rwo"], "--show=rwo: the vocabulary of 14 words does not hold it; near it are row"),
    (["--questions=nowhere.txt"], "--questions=nowhere.txt"),
    (["--similarity=nowhere.txt"], "--similarity=nowhere.txt"),
    (["--pretrainings=0"], "--pretrainings=0: must be positive"),
    (["--method=denoise", "--encoder=bag+mlp"], "--method=denoise: learns no vectors of words with this encoder"),
    (["--method=skipgramm"], "--method=skipgramm: no such method"),
  ],
)
def test_what_cannot_be_asked_is_one_line(flags, says, corpus, tmp_path, capsys):
  assert call("words", f"--dataset={corpus}", f"--method={METHOD}", *flags, f"--out={tmp_path}", "--smoke") == 1
  error = capsys.readouterr().err.splitlines()[-1]
  assert error.startswith("error: ")
  assert says in error
  assert list(tmp_path.iterdir()) == []


# ---- parts -----------------------------------------------------------------------------------------------------------


def vocabulary(counts: dict[str, int]) -> Vocabulary:
  numbers = np.array([*counts.values()])
  return Vocabulary(tuple(counts), numbers, numbers, 10)


def test_words_that_are_shown_are_well_known_and_frequent():
  asked = words.Asked({"x": [("big", "bigger", "old", "older")]}, {})
  known = vocabulary({"the": 900, "big": 300, "row": 200, "old": 150, "red": 50, "king": 3})
  assert words.shown([], known, asked) == ["row", "red", "big", "king"]
  assert words.shown(["old"], known, asked) == ["old"]


def test_without_flags_the_questions_are_of_the_pairs_that_come_with_sslx():
  asked = words.asked(None, [])
  assert ("row", "rows", "column", "columns") in asked.questions["gram-plural"]
  assert asked.rated == {}


def row(name: str, seed: int, add: tuple[int, int], spearman: float | None) -> dict:
  sections = [("family", "semantic", 10, 8, add[0], add[0] // 2), ("gram1", "syntactic", 5, 4, add[1], 0)]
  names = ("name", "group", "questions", "inside", "add", "mul")
  likeness = {"pairs": 9, "inside": 7, "spearman": spearman, "low": 0.1, "high": 0.9}
  analogies = [dict(zip(names, section, strict=True)) for section in sections]
  return {"vectors": name, "seed": seed, "dimensions": 100, "analogies": analogies, "likeness": {"sim": likeness}}


def test_tables_are_of_the_rows():
  rows = [row("skipgram", 0, (4, 1), 0.5), row("skipgram", 1, (8, 1), 0.7), row("ppmi_svd", 0, (2, 4), 0.25)]
  first, sections = words.tables(rows)
  assert first.cells.headers == ["vectors", "dimensions", "semantic", "syntactic", "all", "all, 3CosMul", "sim"]
  assert first.cells.rows == [
    ["skipgram", "100", "75.0 ± 35.4", "25.0 ± 0.0", "58.3 ± 23.6", "25.0 ± 11.8", "0.60 ± 0.14"],
    ["ppmi_svd", "100", "25.0", "100.0", "50.0", "8.3", "0.25 [0.10, 0.90]"],
  ]
  assert "semantic 8 of 10, syntactic 4 of 5, all 12 of 15, sim 7 of 9" in first.note
  assert sections.cells.rows == [
    ["family", "8 of 10", "75.0 / 37.5", "25.0 / 12.5"],
    ["gram1", "4 of 5", "25.0 / 0.0", "100.0 / 0.0"],
  ]


def test_the_pairs_of_the_picture_are_frequent_and_have_no_word_twice():
  known = vocabulary({"a": 9, "b": 8, "c": 7, "d": 6, "e": 5})
  section = [("c", "d", "a", "b"), ("a", "b", "c", "d"), ("b", "e", "a", "b"), ("a", "z", "e", "e")]
  assert words._pairs(section, known) == [("a", "b"), ("c", "d"), ("e", "e")]
