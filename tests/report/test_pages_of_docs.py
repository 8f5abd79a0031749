"""sslx.report.pages_of_docs: tables between the markers of a page."""

import pytest
from report_rows import FROZEN, SCRATCH, rows

from sslx.report import pages_of_docs, records, statistics
from sslx.types import UserError

MADE = {"experiment": "probe", "command": "python -m x --out=/a --checkpoint=/b/c", "features": "pool", "settings": {}}


def test_text_is_put_between_markers(tmp_path):
  page = tmp_path / "page.md"
  page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter <!-- overview --><!-- /overview -->\n")
  pages_of_docs.put(page, "results", "new\n")
  assert page.read_text().startswith("before\n<!-- results -->\nnew\n<!-- /results -->\nafter ")
  pages_of_docs.put(page, "overview", "more\n")
  assert page.read_text().endswith("after <!-- overview -->\nmore\n<!-- /overview -->\n")
  with pytest.raises(UserError, match=r"page\.md: no lines <!-- other -->"):
    pages_of_docs.put(page, "other", "")


def test_a_section_has_table_sentences_and_what_made_it(tmp_path):
  for row in rows(scratch=SCRATCH, frozen=FROZEN):
    records.append_row(tmp_path / "results.jsonl", {**row, **MADE})
  text = pages_of_docs.section(tmp_path)
  assert text.startswith("### denoising on mnist, --encoder=cnn, --features=pool\n\n| labels")
  assert "| 83.0 ± 1.7 |" in text
  assert "- frozen: +2.0 points over scratch" in text
  assert "`python -m x --checkpoint=runs/c`; commit abc1234; cpu x1; jax 1." in text


def test_a_command_with_spaces_loses_the_same_folders(tmp_path):
  command = "python -m x '--out=/my runs/a' '--checkpoint=/my runs/b c' '--dataset=npz:/my data/d.npz' --seeds=2"
  for row in rows(scratch=SCRATCH, frozen=FROZEN):
    records.append_row(tmp_path / "results.jsonl", {**row, **MADE, "command": command})
  shown = "`python -m x '--checkpoint=runs/b c' '--dataset=npz:/my data/d.npz' --seeds=2`"
  assert shown in pages_of_docs.section(tmp_path)


def test_of_several_checkpoints_every_folder_is_told():
  """One after the other, wherever they lay."""
  row = {"git": "a", "device": "cpu", "command": "python -m x --checkpoint=/b/c,runs/d,e --seeds=2"}
  assert "`python -m x --checkpoint=runs/c,runs/d,e --seeds=2`" in pages_of_docs.made_by([row])


def test_a_comparison_has_its_own_tables(tmp_path):
  records.append_row(tmp_path / "results.jsonl", {**rows(frozen=FROZEN)[0], **MADE, "experiment": "freezing"})
  (tmp_path / "tables.md").write_text("the tables\n")
  assert pages_of_docs.section(tmp_path).startswith("### freezing: mnist, --encoder=cnn\n\nthe tables\n\n`python -m x")
  records.append_row(tmp_path / "other/results.jsonl", {**rows(frozen=FROZEN)[0], "experiment": "compare"})
  with pytest.raises(UserError, match="no rows in its results"):
    pages_of_docs.section(tmp_path / "other")


def comparison(folder, dataset, scores, labels=100):
  """A run directory whose lines have these scores; those without pretraining are of the method none."""
  made = []
  for (method, mode), score in scores.items():
    for seed in range(3):
      row = {**rows(**{mode: (score,)})[0], **MADE, "experiment": "compare"}
      made.append({
        **row, "method": method, "dataset": dataset, "labels": labels, "mode": mode, "subset_seed": seed,
        "test_accuracy": score + 0.001 * seed,
      })  # fmt: skip
  records.write_rows(folder / "results.jsonl", made)
  records.write_rows(folder / "summary.jsonl", map(statistics.to_json, statistics.summarise(made)))
  return folder


def test_a_ranking_has_the_best_first_and_what_needs_no_pretraining_among_them(tmp_path):
  none = {("none", "raw"): 0.7, ("none", "random"): 0.5, ("none", "scratch"): 0.8}
  first = comparison(tmp_path / "a", "digits", {**none, ("weak", "frozen"): 0.6, ("strong", "frozen"): 0.9})
  second = comparison(tmp_path / "b", "clothes", {**none, ("strong", "frozen"): 0.75, ("other", "frozen"): 0.99})
  lines = [
    [cell.strip() for cell in line.split("|")[1:-1]] for line in pages_of_docs.ranking([first, second]).splitlines()
  ]
  assert lines[0] == ["100 labels", "digits", "clothes"]
  assert [line[0] for line in lines[2:]] == [
    "`strong`", "*training from scratch*", "*raw pixels*", "`weak`", "*untrained encoder*"
  ]  # fmt: skip
  assert lines[2][1:] == ["90.1 ± 0.1 ↑", "75.1 ± 0.1 ↓"]
  assert lines[5][1:] == ["60.1 ± 0.1 ↓", ""]  # not measured on clothes
  short = pages_of_docs.ranking([first, second], best=0).splitlines()
  assert [cell.strip() for cell in short[-1].split("|")[1:-1]] == ["2 other methods", "60.1 to 90.1", "75.1"]
  assert len(short) == 2 + 3 + 1


def test_a_ranking_is_of_one_number_of_labels_and_of_data_sets_of_their_own(tmp_path):
  scores = {("none", "scratch"): 0.8, ("strong", "frozen"): 0.9}
  first, again = (comparison(tmp_path / name, "digits", scores) for name in "ab")
  with pytest.raises(UserError, match="b: expected a comparison with 100 labels on a data set of its own"):
    pages_of_docs.ranking([first, again])
  other = comparison(tmp_path / "c", "clothes", scores, labels=20)
  with pytest.raises(UserError, match="c: expected a comparison with 100 labels"):
    pages_of_docs.ranking([first, other])


def test_an_example_is_what_a_terminal_shows_as_a_block_of_code(tmp_path):
  made = [{**row, **MADE} for row in rows(scratch=SCRATCH, frozen=FROZEN)]
  records.write_rows(tmp_path / "results.jsonl", made)
  records.write_rows(tmp_path / "summary.jsonl", map(statistics.to_json, statistics.summarise(made)))
  text = pages_of_docs.example(tmp_path)
  lines = text.strip("\n").splitlines()
  assert all(line.startswith("    ") and len(line) <= 80 for line in lines)
  assert lines[0].startswith("    denoising on mnist, 100 labels: 83.0% frozen, 81.0% from scratch (+2.0")
  assert any(line.split()[:3] == ["100", "frozen", "83.0"] for line in lines)
