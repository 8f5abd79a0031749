"""experiments.all_reports: what is left out, and the page in a browser."""

import html
import json
import urllib.parse

import pytest
from helpers import BROWSER, Page, seen_by_browser
from index_rows import FROZEN, SCRATCH, row, rows, write

from experiments import all_reports
from experiments.shared import cli


def call(*arguments):
  return cli.run(all_reports.main, "experiments.all_reports", ["all_reports", *map(str, arguments)])


# ---- what is left out ------------------------------------------------------------------------------------------------


def test_damaged_and_empty_runs_are_named_and_skipped(tmp_path, capsys):
  write(tmp_path / "deep/er/good", rows(scratch=SCRATCH, frozen=FROZEN))
  write(tmp_path / "empty", [])
  write(tmp_path / "other", [{"a": 1}])
  write(tmp_path / "nan", [row("frozen", 0, None)])
  write(tmp_path / "broken", rows(scratch=SCRATCH))
  with (tmp_path / "broken/results.jsonl").open("a") as file:
    file.write("{\n" + json.dumps(row("frozen", 0, 0.5)) + "\n")
  write(tmp_path / "killed", rows({"method": "simclr"}, frozen=FROZEN))
  with (tmp_path / "killed/results.jsonl").open("a") as file:
    file.write('{"method": "sim')  # what a kill leaves
  assert call(f"--runs={tmp_path}") == 0
  *sentences, best, index = capsys.readouterr().out.splitlines()
  assert sentences == [
    "Left out broken: line 4 is not a JSON object; remove or mend that line.",
    "Left out empty: its results.jsonl holds no row.",
    "Left out nan: row 1 of its results.jsonl has no sound test_accuracy.",
    "Left out other: row 1 of its results.jsonl has no sound method.",
  ]
  assert best.endswith("best of 3 lines.")
  assert index == f"Index: {tmp_path / 'index.html'}"
  text = html.unescape((tmp_path / "index.html").read_text())
  for sentence in sentences:
    assert sentence in text


def test_smoke_runs_are_left_out_unless_asked_for(tmp_path, capsys):
  write(tmp_path / "real", rows(frozen=FROZEN))
  write(tmp_path / "smoke", rows({"flags": {"smoke": True}}, full=[0.99]))
  assert call(f"--runs={tmp_path}") == 0
  assert "Left out 1 --smoke run; --smoke_runs keeps them." in capsys.readouterr().out
  assert "99.0" not in (tmp_path / "index.html").read_text()
  assert call(f"--runs={tmp_path}", "--smoke_runs") == 0
  assert "99.0" in (tmp_path / "index.html").read_text()
  assert call(f"--runs={tmp_path / 'smoke'}") == 1
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "--smoke_runs keeps" in error


@pytest.mark.parametrize(("name", "cure"), [("", "experiments.low_label"), ("nowhere", "--out")])
def test_nothing_there_is_one_line_with_the_cure(tmp_path, capsys, name, cure):
  assert call(f"--runs={tmp_path / name}") == 1
  error = capsys.readouterr().err
  assert error.startswith(f"error: --runs={tmp_path / name}: no ")
  assert cure in error
  assert error.count("\n") == 1
  assert not (tmp_path / "index.html").exists()


# ---- the page --------------------------------------------------------------------------------------------------------


def test_names_are_escaped_and_links_lead_to_the_reports(tmp_path):
  hostile = "\"'><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>{{ 7 * 7 }}"
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  keys = ("method", "encoder", "features", "git", "command", "dataset")
  write(tmp_path / "a", [r | dict.fromkeys(keys, hostile) | {"mode": r["mode"] + hostile} for r in given])
  odd = "x/conv=1,a b%20#1?ü<b>&"
  write(tmp_path / odd, [r | {"method": "simclr"} for r in given])
  write(tmp_path / "unfinished", given, page=False)
  assert call(f"--runs={tmp_path}") == 0
  page = Page((tmp_path / "index.html").read_text())
  assert page.tags.count("script") == 1
  assert "img" not in page.tags
  assert not [name for _, name, _ in page.attributes if name.startswith("on")]
  assert hostile in page.text
  links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href") and not value.startswith("#")]
  targets = {urllib.parse.unquote(link) for link in links}
  assert targets == {"a/report.html", f"{odd}/report.html"}
  assert all((tmp_path / target).is_file() for target in targets)
  assert not [link for link in links if set(link) & set("#?<> ")]
  fetched = [value for _, name, value in page.attributes if name in ("src", "srcset", "action")]
  assert fetched == []
  assert "url(" not in page.text
  ids = {value for _, name, value in page.attributes if name == "id"}
  jumps = {value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href") and value[0] == "#"}
  assert jumps
  assert jumps <= ids


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to open the page in")
def test_the_browser_sorts_numbers_as_numbers_and_filters(tmp_path):
  """What text would sort wrongly: 9 before 100, negative differences, cells that are empty."""
  method = [("m10", 0.9, 9, 0.05), ("m9", 0.95, 1000, 12.5), ("m2", 0.1, 20, 100.0)]
  given = [
    row("frozen", 0, accuracy, method=name, parameters_trainable=count, seconds=seconds, pretraining={"method": name})
    for name, accuracy, count, seconds in method
  ]
  scratch = {"method": "none", "pretraining": None, "parameters_trainable": None}
  write(tmp_path / "a", [*given, row("scratch", 0, 0.92, **scratch)])
  write(tmp_path / "b", rows({"dataset": "digits"}, frozen=[0.5]))
  assert call(f"--runs={tmp_path}") == 0
  page = tmp_path / "index.html"
  script = """
const seen = {};
const boards = [...document.querySelectorAll(".board")];
const board = boards.find((b) => b.querySelector("h2").textContent.startsWith("mnist"));
const head = (name) => [...board.querySelectorAll("th")].find((h) => h.textContent === name);
const look = () => [...board.querySelectorAll("tbody tr")].filter((r) => !r.hidden).map((r) => r.cells[0].textContent);
const order = (h) => [h.textContent, h.getAttribute("aria-sort")];
const sorts = () => [...board.querySelectorAll("th[aria-sort]")].map(order);
seen.first = [look(), sorts()];
for (const name of ["accuracy %", "trainable", "seconds", "vs scratch [95% CI]", "method"]) {
  seen[name] = [];
  for (let i = 0; i < 2; i++) {
    head(name).querySelector("button").click();
    seen[name].push([look(), sorts()]);
  }
}
const box = document.getElementById("filter");
for (const words of ["FROZEN m9", "digits", "nothing", ""]) {
  box.value = words;
  box.dispatchEvent(new Event("input"));
  seen["filter " + words] = [look().sort(), board.hidden, document.getElementById("shown").textContent];
}
document.body.dataset.seen = JSON.stringify(seen);
"""
  seen = seen_by_browser(page, script, tmp_path / "profile")

  def column(name, descending, ascending, down_first=True):
    states = [[descending, [[name, "descending"]]], [ascending, [[name, "ascending"]]]]
    assert seen[name] == (states if down_first else states[::-1])

  best_first = ["m9", "", "m10", "m2"]
  assert seen["first"] == [best_first, [["accuracy %", "descending"]]]
  column("accuracy %", best_first, best_first[::-1], down_first=False)  # it was descending
  column("trainable", ["m9", "m2", "m10", ""], ["m10", "m2", "m9", ""])
  column("seconds", ["m2", "m9", "", "m10"], ["m10", "", "m9", "m2"])
  column("vs scratch [95% CI]", ["m9", "m10", "m2", ""], ["m2", "m10", "m9", ""])
  column("method", ["m10", "m9", "m2", ""], ["m2", "m9", "m10", ""], down_first=False)
  assert seen["filter FROZEN m9"] == [["m9"], False, "1 of 5 lines"]
  assert seen["filter digits"] == [[], True, "1 of 5 lines"]
  assert seen["filter nothing"] == [[], True, "0 of 5 lines"]
  assert seen["filter "] == [["", "m10", "m2", "m9"], False, ""]


def test_help_shows_the_flags(capsys):
  assert call("--help") == 0
  text = capsys.readouterr().out
  for part in ("./launch.sh all_reports", "--runs", "--smoke_runs"):
    assert part in text
