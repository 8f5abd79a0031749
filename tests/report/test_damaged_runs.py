"""Rows, files and folders that are damaged: what can be read is shown, and what cannot is named."""

import html
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from index_rows import FROZEN, PRETRAINING, SCRATCH, row, rows, write

from experiments import all_reports, readme_table
from experiments.shared import cli
from sslx import report
from sslx.report import checks, index, pages_of_docs, records
from sslx.types import Score, UserError

SOUND = {
  **row("frozen", 0, 0.81), "score": Score()._asdict(), "reads": "pretrained", "trains_encoder": False, "seed": 0,
  "test_examples": 300, "chosen": {"l2": 0.1}, "versions": {"jax": "1"}, "device": "cpu", "pretraining": PRETRAINING
  | {"seed": 0}, "settings": {"features": "flatten", "validation": "cv", "subset": "balanced", "labels_crc32": 7},
}  # fmt: skip
INSIDE = ("score", "pretraining", "settings")  # mappings whose entries are replaced, too
VALUES = (None, "text", "NaN", 7, [1], {"a": [1]}, 10**400, float("nan"))


def replaced(given, name):
  """The row with every value in place of an entry, and without it."""
  return [*({**given, name: value} for value in VALUES), {k: v for k, v in given.items() if k != name}]


def mutations():
  """{entry: rows}: every entry of a row, and of the mappings in it."""
  made = {name: replaced(SOUND, name) for name in SOUND}
  for name in INSIDE:
    made |= {
      f"{name} {inner}": [{**SOUND, name: each} for each in replaced(SOUND[name], inner)] for inner in SOUND[name]
    }
  return made


def call(folder):
  return cli.run(all_reports.main, "experiments.all_reports", ["all_reports", f"--runs={folder}"])


def test_whatever_stands_in_a_row_the_page_is_written(tmp_path, capsys):
  """Every entry replaced by every value, a run for each entry: a row is left out and named, or it does no harm."""
  rng, places = np.random.default_rng(0), {}
  for name, damaged in mutations().items():
    given = np.array([*rows(scratch=SCRATCH[:1], frozen=FROZEN[:1]), *damaged])
    order = rng.permutation(len(given))
    write(tmp_path / name, given[order])
    places[name] = {int(place) + 1 for place in np.flatnonzero(order >= 2)}
  write(tmp_path / "whole", rows({"method": "whole"}, scratch=SCRATCH, frozen=FROZEN))
  assert call(tmp_path) == 0
  page = html.unescape((tmp_path / "index.html").read_text())
  assert page.count(">whole (denoise)</th>") == 1  # its scratch stands for all methods
  assert page.count("83.0 ± 1.7") == 1
  said = [each for each in capsys.readouterr().out.splitlines() if each.startswith("Left out")]
  found = {name: set() for name in places}
  for sentence in said:
    assert sentence in page
    name, numbers, wrong = re.fullmatch(
      r"Left out of (.*): rows? (.*) of its results.jsonl ha\w+ no sound (\w+)\.", sentence
    ).groups()
    found[name] |= set(map(int, numbers.split(", ")))
    assert wrong in (name, name.split()[0]) or name.startswith("score")  # of another score another entry is wanted
  assert all(found[name] <= places[name] for name in places)
  assert {name for name in places if not found[name]} == {"settings features", "pretraining epochs"}  # only told apart
  assert all(len(found[name]) >= len(VALUES) - 2 for name in index.NEEDED)


def binary(path):
  path.unlink(missing_ok=True)
  path.write_bytes(bytes(range(256)) * 9)


def a_folder(path):
  path.unlink(missing_ok=True)
  path.mkdir()


def half_a_pair(path):
  """Of surrogates, in a name: Python reads it from JSON, but can write it nowhere."""
  path.write_text(json.dumps(row("frozen", 0, 0.5, method="\ud800")) + "\n" + json.dumps(row("frozen", 1, 0.5)) + "\n")


def too_deep(path):
  path.write_text("[" * 100_000 + "\n" + json.dumps(row("frozen", 1, 0.5)) + "\n")


@pytest.mark.parametrize(
  ("file", "damage", "said"),
  [
    ("results", binary, "line 1 is not a JSON object"), ("results", a_folder, "cannot be read (Is a directory)"),
    ("results", half_a_pair, "line 1 is not a JSON object"), ("results", too_deep, "line 1 is not a JSON object"),
    ("config", binary, ""), ("config", a_folder, ""), ("summary", binary, ""), ("summary", a_folder, ""),
  ],
)  # fmt: skip
def test_whatever_file_is_damaged_the_page_is_written(tmp_path, capsys, file, damage, said):
  for name in ("a", "b"):
    write(tmp_path / name, rows({"method": name}, scratch=SCRATCH, frozen=FROZEN))
    records.write_json(tmp_path / name / "config.json", {})
    records.write_rows(tmp_path / name / "summary.jsonl", [{}])
  damage(tmp_path / "a" / {"results": "results.jsonl", "config": "config.json", "summary": "summary.jsonl"}[file])
  assert call(tmp_path) == 0
  out, page = capsys.readouterr().out, (tmp_path / "index.html").read_text()
  assert "b (denoise)" in page
  assert ("a (denoise)" in page) == (said == "")
  assert (f"Left out a: {said}" in out) == (said != "")
  assert out.count("Left out") == (said != "")


def test_a_run_directory_whose_name_is_no_text_is_shown(tmp_path):
  folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xff"))
  try:
    write(folder, rows(scratch=SCRATCH))
  except OSError:
    pytest.skip("the file system takes no such name")
  assert call(tmp_path) == 0
  page = (tmp_path / "index.html").read_text()
  assert "run-%FF/report.html" in page


# ---- the rows of one's own -------------------------------------------------------------------------------------------


def refusal(function, *arguments):
  """What a UserError says; empty where there is none."""
  try:
    function(*arguments)
  except UserError as error:
    return str(error)
  return ""


def told(given):
  summary = report.summarise([given])
  report.verdict(summary)
  report.results_table(summary)
  report.answer(summary)
  report.parameters(summary)
  report.parameters_cells(summary)


def test_what_is_summarised_is_checked():
  for name, damaged in mutations().items():
    for given in damaged:
      said = refusal(told, given)
      assert not said or re.match(r"results row 1: \w+ is missing or not sound", said), name


def test_a_damaged_row_of_results_is_named_with_its_line(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_text(f"{json.dumps(SOUND)}\n\n{json.dumps({**SOUND, 'labels': 'ten'})}\n")
  with pytest.raises(UserError, match=r"results\.jsonl: line 3 has no sound labels; remove or mend that line"):
    checks.read_results(path)
  records.write_rows(path, [SOUND])
  assert checks.read_results(path) == [SOUND]
  assert checks.read_results(tmp_path / "none") == []


def whole_run(folder):
  """A run directory of a comparison, with its summary."""
  given = [{**SOUND, **each} for each in rows(scratch=SCRATCH, frozen=FROZEN)]
  records.write_rows(folder / "results.jsonl", given)
  records.write_rows(folder / "summary.jsonl", map(report.to_json, report.summarise(given)))
  return given


def lines(given):
  return "".join(json.dumps(each) + "\n" for each in given)


def test_pages_of_docs_name_a_damaged_row(tmp_path, monkeypatch):
  """By its file and line, in one line, and the page is as it was."""
  page, run = tmp_path / "README.md", tmp_path / "run"
  monkeypatch.setattr(readme_table, "ROOT", tmp_path)
  given = whole_run(run)
  page.write_text("<!-- results -->\n<!-- /results -->\n")
  for name, damaged in mutations().items():
    for each in (damaged[4], damaged[-1]):  # a list, or nothing
      before = page.read_bytes()
      records.write_text(run / "results.jsonl", lines([*given[:2], each]))
      if said := refusal(readme_table.main, [run], "README.md"):
        wanted = rf"{run}/results.jsonl: (line 3 has no sound \w+; |results row 3: its score )"
        assert re.match(wanted, said), name
        assert page.read_bytes() == before


def test_the_overview_names_a_damaged_row(tmp_path):
  run, overview = tmp_path / "run", {"few": pages_of_docs.Published({})}
  whole_run(run)
  first, *rest = records.read_rows(run / "summary.jsonl")
  for name in first:
    for each in replaced(first, name):
      records.write_text(run / "summary.jsonl", lines([each, *rest]))
      said = refusal(pages_of_docs.overview, [run], overview)
      assert not said or re.match(rf"{run}/summary.jsonl: line 1 has no sound \w+; ", said), name
