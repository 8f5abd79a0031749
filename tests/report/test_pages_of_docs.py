"""sslx.report.pages_of_docs: tables between the markers of a page."""

import pytest
from report_rows import FROZEN, SCRATCH, rows

from sslx.report import pages_of_docs, records
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
  assert text.startswith("### denoising on mnist, --features=pool\n\n| labels")
  assert "| 83.0 ± 1.7 |" in text
  assert "- frozen: +2.0 points over scratch" in text
  assert "`python -m x --checkpoint=runs/c`; commit abc1234; cpu x1; jax 1." in text


def test_a_command_with_spaces_loses_the_same_folders(tmp_path):
  command = "python -m x '--out=/my runs/a' '--checkpoint=/my runs/b c' '--dataset=npz:/my data/d.npz' --seeds=2"
  for row in rows(scratch=SCRATCH, frozen=FROZEN):
    records.append_row(tmp_path / "results.jsonl", {**row, **MADE, "command": command})
  shown = "`python -m x '--checkpoint=runs/b c' '--dataset=npz:/my data/d.npz' --seeds=2`"
  assert shown in pages_of_docs.section(tmp_path)


def test_a_comparison_has_its_own_tables(tmp_path):
  records.append_row(tmp_path / "results.jsonl", {**rows(frozen=FROZEN)[0], **MADE, "experiment": "freezing"})
  (tmp_path / "tables.md").write_text("the tables\n")
  assert pages_of_docs.section(tmp_path).startswith("### freezing: mnist, --encoder=cnn\n\nthe tables\n\n`python -m x")
  records.append_row(tmp_path / "other/results.jsonl", {**rows(frozen=FROZEN)[0], "experiment": "compare"})
  with pytest.raises(UserError, match="no rows in its results"):
    pages_of_docs.section(tmp_path / "other")
