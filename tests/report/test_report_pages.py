"""sslx.report.pages: self-contained pages that hold the numbers, against hostile names."""

import pytest
from helpers import Page
from report_rows import FROZEN, SCRATCH, rows

from sslx import report
from sslx.report import figures, pages
from sslx.report.pages import Figure
from sslx.types import UserError


def write_page(folder, given, word="plain", **changes):
  path = figures.save(figures.score_dots(report.summarise(given)), folder / "figures" / "bars.png")
  arguments = {
    "title": word,
    "command": f"run --x={word}",
    "config": {word: {"a": word}, "rate": 0.001},
    "rows": given,
    "summary": report.summarise(given),
    "figures": [Figure(word, word, path), Figure(word, word, "figures/bars.png")],
    "timings": {word: 130.0, "train": 1.0},
  }
  return pages.write_html(folder, **(arguments | changes)).read_text()


def test_html_is_self_contained_and_escapes_hostile_names(tmp_path):
  hostile = "\"'><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>{{ 7 * 7 }} & </style>"
  given = [r | {"method": hostile, "mode": r["mode"] + hostile, "device": hostile, "chosen": {hostile: hostile}}
           for r in rows(scratch=SCRATCH, frozen=FROZEN)]  # fmt: skip
  text = write_page(tmp_path, given, hostile)
  page = Page(text)
  assert "script" not in page.tags
  assert page.tags.count("img") == 2
  assert not [name for _, name, _ in page.attributes if name.startswith("on")]
  links = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action")]
  assert len(links) == 3
  assert all(value.startswith("data:") for value in links)
  assert "url(" not in text
  assert "@import" not in text
  assert hostile in page.text  # shown as it is, not as markup
  assert all(value for tag, name, value in page.attributes if (tag, name) == ("img", "alt"))
  assert page.tags.count("th") == len([1 for tag, name, _ in page.attributes if (tag, name) == ("th", "scope")])
  assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []


def test_html_holds_the_numbers(tmp_path):
  text = Page(write_page(tmp_path, rows(scratch=SCRATCH, frozen=FROZEN, raw=[0.9] * 3))).text
  for part in ("83.0 ± 1.7", "+2.0 [-0.5, +4.5]", "2 min 10 s", "rate", "0.001", "abc1234", "l2=0.1", "99%"):
    assert part in text
  assert "frozen does not beat raw" in text
  assert "share one pretraining run" in text


def test_html_of_an_empty_run_and_of_a_missing_figure(tmp_path):
  bare = {"figures": [], "timings": {}, "config": {}}
  assert "There are no results yet." in write_page(tmp_path, [], **bare)
  with pytest.raises(UserError, match=r"nowhere\.png"):
    write_page(tmp_path, [], figures=[Figure("a", "b", "nowhere.png")])
  (tmp_path / "fake.png").write_text("<svg>")
  with pytest.raises(UserError, match="not a PNG"):
    write_page(tmp_path, [], figures=[Figure("a", "b", "fake.png")])
