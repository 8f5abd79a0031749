"""sslx.report.pages: self-contained pages that hold the numbers, against hostile names."""

import numpy as np
import pytest
from helpers import Page
from PIL import Image
from report_rows import FROZEN, SCRATCH, rows

from sslx import report
from sslx.report import figures, pages, sounds
from sslx.report.pages import Figure, Link, Section
from sslx.report.tables import Cells, Table
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


def test_what_is_heard_stands_below_its_picture(tmp_path):
  hostile = "\"'><script>alert(1)</script> & row"
  picture = figures.save(figures.picture_rows({"a": np.zeros((2, 4, 10))}), tmp_path / "figures" / "pretext.png")
  sounds.write(picture, f"By {hostile}", {"recording": [np.zeros(80)] * 2, hostile: [np.ones(80) / 3] * 2}, 8000)
  text = write_page(tmp_path, rows(scratch=SCRATCH), figures=[Figure("Seen", "b", picture)])
  page = Page(text)
  assert "script" not in page.tags
  assert page.tags.count("audio") == 4
  heard = [(name, value) for tag, name, value in page.attributes if tag == "audio"]
  heard_of = sounds.read(picture)
  assert heard_of is not None
  assert [v for n, v in heard if n == "src"] == [s for row in heard_of.rows for s in row.sounds]
  assert len([1 for name, _ in heard if name == "controls"]) == 4
  labels = [value for name, value in heard if name == "aria-label"]
  assert labels == [f"{title}, recording {i}" for title in ("recording", hostile) for i in (1, 2)]
  assert f"By {hostile}" in page.text
  assert "media-src data:" in text  # else browsers refuse to play them
  assert "audio" not in Page(write_page(tmp_path, rows(scratch=SCRATCH))).tags


# ---- a page of several tasks -----------------------------------------------------------------------------------------


def section(folder, word: str, figures=None) -> Section:
  """One with two sentences, two tables and two figures, of which one is named from the folder of the page."""
  for name in ("a", "b"):
    (folder / word).mkdir(exist_ok=True)
    Image.new("L", (30, 20)).save(folder / f"{word}/{name}.png")
  cells = Cells(["method", f"{word} score"], [["m", "12.5"]])
  found = [Figure(f"{word} A", "ca", folder / f"{word}/a.png"), Figure(f"{word} B", "cb", f"{word}/b.png", "plot")]
  tables = [Table(f"{word} one", cells, f"note of {word}"), Table(f"{word} two", cells, "")]
  link = Link(f"{word}/report.html", f"All of {word}", "every row")
  return Section(word, [f"{word} is.", f"{word} was."], tables, found if figures is None else figures, link)


def tasks_page(folder, sections, word="T", **changes) -> str:
  return pages.write_tasks(folder / "report.html", word, f"sub {word}", f"run {word}", sections, **changes).read_text()


def test_a_page_of_tasks_has_each_section_with_all_that_is_in_it(tmp_path):
  text = tasks_page(tmp_path, [section(tmp_path, "boxes"), section(tmp_path, "masks")])
  page = Page(text)
  parts = text.split("<h2>")
  assert [part.partition("<")[0] for part in parts[1:]] == ["boxes", "masks", "How to make it again"]
  for word, part in zip(("boxes", "masks"), parts[1:3], strict=True):
    other = "masks" if word == "boxes" else "boxes"
    shown = Page(part).text
    for content in ("is.", "was.", "one", "two", "score", "A", "B"):
      assert f"{word} {content}" in shown
    assert f"note of {word}" in shown
    assert f'<a href="{word}/report.html">' in part
    assert f"All of {word}" in shown
    assert other not in part
    assert part.count("<table") == part.count("<img") == 2
    assert '<figure class="plot' in part
  assert page.tags.count("h1") == 1
  assert "sub T" in page.text
  assert "run T" in Page(parts[-1]).text
  assert "Smoke run" not in text
  assert "Smoke run" in tasks_page(tmp_path, [section(tmp_path, "boxes")], smoke=True)


def test_a_page_of_tasks_is_self_contained_and_escapes_hostile_names(tmp_path):
  hostile = "\"'><script>alert(1)</script>{{ 7 * 7 }} & </style>"
  made = section(tmp_path, "boxes")
  given = made._replace(
    title=hostile, sentences=[hostile], tables=[Table(hostile, Cells([hostile, "b"], [[hostile, hostile]]), hostile)],
    figures=[made.figures[0]._replace(title=hostile, caption=hostile)], link=Link("x.html", hostile, hostile),
  )  # fmt: skip
  text = tasks_page(tmp_path, [given], hostile)
  page = Page(text)
  assert "script" not in page.tags
  assert page.tags.count("img") == 1
  assert not [name for _, name, _ in page.attributes if name.startswith("on")]
  assert all(value.startswith("data:") for _, name, value in page.attributes if name in ("src", "srcset"))
  assert page.text.count(hostile) >= 10
  assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_a_page_of_tasks_refuses_a_figure_that_is_missing_and_leaves_the_old_page(tmp_path):
  before = tasks_page(tmp_path, [section(tmp_path, "boxes")])
  (tmp_path / "fake.png").write_text("<svg>")
  for path, message in (("nowhere.png", r"nowhere\.png: no such figure"), ("fake.png", r"fake\.png: not a PNG")):
    with pytest.raises(UserError, match=message):
      tasks_page(tmp_path, [section(tmp_path, "boxes", [Figure("a", "b", path)])])
  assert (tmp_path / "report.html").read_text() == before


def test_a_page_of_tasks_may_have_a_section_without_tables_or_figures(tmp_path):
  text = tasks_page(tmp_path, [section(tmp_path, "boxes")._replace(tables=[], figures=[], sentences=[])])
  assert "<img" not in text
  assert "boxes/report.html" in text
