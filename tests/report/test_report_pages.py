"""sslx.report.pages: self-contained pages that hold the numbers, against hostile names."""

import pytest
from helpers import Page
from PIL import Image
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


def test_the_answer_comes_first_and_what_few_read_is_folded(tmp_path):
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  text = write_page(
    tmp_path, given, modes={"frozen": "a head on frozen features", "full": "all of it"}, lead=["It is."]
  )
  places = [
    text.index(part)
    for part in (">83.0<", 'class="dots"', "<h2>Results</h2>", "<figure", "<details>", ">Parameters<", ">Provenance<")
  ]
  assert places == sorted(places)
  assert text.index("every comparison in words".capitalize()) > text.index("<details>")
  assert "a head on frozen features" in text[: text.index("<h2>")]
  assert "<dt>full</dt>" in text  # no line of the plot says it
  assert "<dt>frozen</dt>" not in text
  assert "<p>It is.</p>" in text
  assert "Smoke run" not in text
  smoke = write_page(tmp_path, [row | {"flags": {"smoke": True}} for row in given])
  assert smoke.index("Smoke run") < smoke.index(">83.0<")


def test_a_figure_of_the_answer_stands_in_place_of_the_dots(tmp_path):
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  path = figures.save(figures.score_dots(report.summarise(given)), tmp_path / "curve.png")
  text = write_page(tmp_path, given, answer=Figure("Curve", "c", path, "plot"), figures=[])
  assert text.index("Curve") < text.index("<h2>Results</h2>") < text.index('class="dots"')
  assert '<figure class="plot' in text
  (width,) = [float(value) for tag, name, value in Page(text).attributes if (tag, name) == ("img", "width")]
  with Image.open(path) as image:
    assert width == pytest.approx(image.width / 2, abs=1)  # sharp where a CSS pixel has four


def test_the_large_numbers_are_of_what_the_caller_says(tmp_path):
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  better = [row | {"method": "oracle"} for row in rows(scratch=SCRATCH, frozen=[0.99] * 3)]
  summary = report.summarise([*given, *better])
  assert ">99.0<" in write_page(tmp_path, [*given, *better])
  ours = [entry for entry in summary if entry.method != "oracle"]
  text = write_page(tmp_path, [*given, *better], told=ours)
  assert ">83.0<" in text
  assert ">99.0<" not in text
  assert "99.0 ± 0.0" in text


def test_html_of_an_empty_run_and_of_a_missing_figure(tmp_path):
  bare = {"figures": [], "timings": {}, "config": {}}
  assert "There are no results yet." in write_page(tmp_path, [], **bare)
  with pytest.raises(UserError, match=r"nowhere\.png"):
    write_page(tmp_path, [], figures=[Figure("a", "b", "nowhere.png")])
  (tmp_path / "fake.png").write_text("<svg>")
  with pytest.raises(UserError, match="not a PNG"):
    write_page(tmp_path, [], figures=[Figure("a", "b", "fake.png")])
