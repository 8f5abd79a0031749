"""experiments.all_reports: which rows share a table, known numbers in it, what is left out, and the page in a browser."""

import html
import json
import re
import urllib.parse

import pytest
from helpers import BROWSER, Page, seen_by_browser

from experiments import all_reports
from experiments.shared import cli as common
from sslx.report import leaderboard

SCRATCH, FROZEN = [0.80, 0.82, 0.81], [0.81, 0.84, 0.84]  # differences 0.01, 0.02, 0.03
PRETRAINING = {"method": "denoise", "dataset": "mnist", "epochs": 2.0}
HALF = 4.302652729911275 * 0.01 / 3**0.5  # t(0.975, 2 degrees of freedom), sd 0.01, three pairs


def row(mode, seed, accuracy, **more):
  base = {"experiment": "low_label", "method": "denoise", "dataset": "mnist", "encoder": "conv", "features": "flatten"}
  counts = {"parameters_total": 1000, "parameters_trainable": 10, "seconds": 2.0}
  made = {"git": "abc1234", "command": "python -m x", "flags": {"smoke": False}, "pretraining": PRETRAINING}
  settings = {"features": "flatten", "validation": "cv", "labels_crc32": 7}
  own = {"mode": mode, "labels": 100, "subset_seed": seed, "test_accuracy": accuracy}
  return {**base, **counts, **made, "settings": settings, **own, **more}


def rows(more=None, **modes):
  return [row(mode, seed, value, **(more or {})) for mode, values in modes.items() for seed, value in enumerate(values)]


def with_settings(given, **settings):
  return [r | {"settings": r["settings"] | settings} for r in given]


def write(folder, given, page=True):
  folder.mkdir(parents=True)
  (folder / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in given))
  if page:
    (folder / "report.html").write_text("<!doctype html>")


def call(*arguments):
  return common.run(all_reports.main, "experiments.all_reports", ["all_reports", *map(str, arguments)])


def found(folder):
  runs, left_out = all_reports.gather(folder)
  return all_reports.boards(
    [line for run, own in runs.items() for line in all_reports.lines(folder, run, own)]
  ), left_out


def by_mode(board):
  return {line.entry["mode"]: line for line in board.lines}


# ---- which rows stand where ------------------------------------------------------------------------------------------


def test_seeds_with_a_pretraining_of_their_own_are_one_line(tmp_path):
  own = [r | {"pretraining": PRETRAINING | {"seed": r["subset_seed"]}} for r in rows(scratch=SCRATCH, frozen=FROZEN)]
  write(tmp_path / "a", own)
  (board,), _ = found(tmp_path)
  assert {mode: line.entry["n"] for mode, line in by_mode(board).items()} == {"scratch": 3, "frozen": 3}
  assert len(board.lines) == 2
  write(tmp_path / "b/c", [r | {"pretraining": PRETRAINING | {"seed": s}} for s in (0, 1) for r in rows(frozen=FROZEN)])
  (board,), _ = found(tmp_path / "b")
  assert [line.entry["n"] for line in board.lines] == [3, 3]  # two pretrainings, each on all subsets


def test_known_numbers(tmp_path):
  write(tmp_path / "a", rows(scratch=SCRATCH, frozen=FROZEN))
  ((board,), left_out) = found(tmp_path)
  assert (board.title, board.note, left_out) == ("mnist, 100 labels", "", [])
  line = by_mode(board)["frozen"]
  assert line.entry["mean"] == pytest.approx(0.83)
  assert line.entry["std"] == pytest.approx(0.0003**0.5)
  wanted = [0.02, 0.02 - HALF, 0.02 + HALF]
  assert [line.entry[name] for name in ("difference", "low", "high")] == pytest.approx(wanted)
  assert (line.method, line.features, line.run, line.commits) == ("denoise", "flatten", "a", "abc1234")
  assert re.fullmatch(r"\d{4}-\d\d-\d\d", line.date)
  assert leaderboard.ranked_sentence(board) == (
    "mnist, 100 labels: 83.0 ± 1.7%: denoise frozen, conv, +2.0 [-0.5, +4.5] points against scratch; best of 2 lines."
  )


def test_the_difference_is_to_the_same_runs_scratch(tmp_path):
  write(tmp_path / "a", rows(scratch=SCRATCH, frozen=FROZEN))
  write(tmp_path / "b", rows({"method": "simclr", "pretraining": {**PRETRAINING, "method": "simclr"}}, frozen=FROZEN))
  ((board,), _) = found(tmp_path)
  frozen = {line.method: line.entry["difference"] for line in board.lines if line.entry["mode"] == "frozen"}
  assert frozen == {"denoise": pytest.approx(0.02), "simclr": None}


def test_other_labels_splits_and_validations_have_tables_of_their_own(tmp_path):
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  write(tmp_path / "a", given)
  write(tmp_path / "b", with_settings(given, labels_crc32=8))
  write(tmp_path / "c", with_settings(given, validation="heldout:50"))
  write(tmp_path / "d", [r | {"labels": 1000} for r in given])
  write(tmp_path / "e", [r | {"dataset": "digits"} for r in given])
  boards, _ = found(tmp_path)
  assert {board.title: {line.run for line in board.lines} for board in boards} == {
    "digits, 100 labels": {"e"},
    "mnist, 100 labels, split 00000007": {"a"},
    "mnist, 100 labels, split 00000008": {"b"},
    "mnist, 100 labels, --validation=heldout:50, split 00000007": {"c"},
    "mnist, 1,000 labels": {"d"},
  }
  assert [bool(board.note) for board in boards] == [False, True, True, True, False]
  assert "00000008" in boards[2].note


def test_pretraining_and_settings_are_not_mixed_within_a_run(tmp_path):
  """A comparison's folder takes rows of --epochs=2 and of --epochs=4, of one and of another number of steps."""
  none = {"method": "none", "pretraining": None}
  longer = {"pretraining": {**PRETRAINING, "epochs": 4.0}}
  given = rows(none, scratch=SCRATCH, raw=[0.5] * 3) + rows(frozen=FROZEN) + rows(longer, frozen=[0.9, 0.92, 0.91])
  given += with_settings(rows(none, scratch=[0.7] * 3) + rows(frozen=FROZEN), steps=999)
  write(tmp_path / "a", given)
  ((board,), _) = found(tmp_path)
  lines = sorted((line.entry["mode"], round(line.entry["mean"], 3), line.entry["difference"]) for line in board.lines)
  assert lines == [
    ("frozen", 0.83, pytest.approx(0.02)),
    ("frozen", 0.83, pytest.approx(0.13)),
    ("frozen", 0.91, pytest.approx(0.1)),
    ("raw", 0.5, pytest.approx(-0.31)),
    ("scratch", 0.7, None),
    ("scratch", 0.81, None),
  ]


def test_rows_older_than_a_setting_have_its_default(tmp_path):
  from sslx.evaluation.finetune import Recipe

  old = rows(scratch=SCRATCH)
  write(tmp_path / "a", old + with_settings(rows(frozen=FROZEN), **json.loads(json.dumps(Recipe()._asdict()))))
  ((board,), _) = found(tmp_path)
  assert by_mode(board)["frozen"].entry["difference"] == pytest.approx(0.02)


def test_references_are_marked_and_repeated_ones_shown_once(tmp_path):
  write(tmp_path / "a", rows(raw=[0.5, 0.6], random=[0.6, 0.6], scratch=[0.7, 0.7], frozen=[0.8, 0.8]))
  other = {"method": "simclr", "encoder": "mlp", "pretraining": {**PRETRAINING, "method": "simclr"}}
  write(tmp_path / "b", rows(other, raw=[0.5, 0.6], random=[0.6, 0.6], scratch=[0.7, 0.71], frozen=[0.8, 0.8]))
  write(tmp_path / "c", rows({"pretraining": {**PRETRAINING, "epochs": 9}}, random=[0.6, 0.6], frozen=[0.8, 0.8]))
  ((board,), _) = found(tmp_path)
  lines = [(line.method, line.entry["mode"], line.entry["encoder"], line.run, line.more) for line in board.lines]
  assert sorted(lines) == [
    ("", "random", "conv", "a", 1),  # that of c; the one of b has another encoder
    ("", "random", "mlp", "b", 0),
    ("", "raw", "", "a", 1),  # pixels know of no encoder
    ("", "scratch", "conv", "a", 0),
    ("", "scratch", "mlp", "b", 0),
    ("denoise", "frozen", "conv", "a", 0),  # what was pretrained is never merged
    ("denoise", "frozen", "conv", "c", 0),
    ("simclr", "frozen", "mlp", "b", 0),
  ]
  marks = {line.entry["mode"]: leaderboard.mark(line.entry) for line in board.lines}
  assert marks == {"raw": "reference", "random": "reference", "scratch": "baseline", "frozen": ""}


def test_methods_say_what_they_are():
  name = all_reports.method_name
  assert name(row("frozen", 0, 0.5, method="level 0.5")) == "level 0.5 (denoise)"
  assert name(row("frozen", 0, 0.5, dataset="digits")) == "denoise, from mnist"
  assert name(row("frozen", 0, 0.5, method="denoise on the target")) == "denoise on the target"
  assert name(row("raw", 0, 0.5, method="none", pretraining=None)) == "none"


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
  *said, best, index = capsys.readouterr().out.splitlines()
  assert said == [
    "Left out broken: line 4 is not a JSON object; remove or mend that line.",
    "Left out empty: its results.jsonl holds no row.",
    "Left out nan: row 1 of its results.jsonl has no sound test_accuracy.",
    "Left out other: row 1 of its results.jsonl has no sound method.",
  ]
  assert best.endswith("best of 3 lines.")
  assert index == f"Index: {tmp_path / 'index.html'}"
  text = html.unescape((tmp_path / "index.html").read_text())
  for sentence in said:
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
const board = [...document.querySelectorAll(".board")].find((b) => b.querySelector("h2").textContent.startsWith("mnist"));
const head = (name) => [...board.querySelectorAll("th")].find((h) => h.textContent === name);
const look = () => [...board.querySelectorAll("tbody tr")].filter((r) => !r.hidden).map((r) => r.cells[0].textContent);
const sorts = () => [...board.querySelectorAll("th[aria-sort]")].map((h) => [h.textContent, h.getAttribute("aria-sort")]);
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
  for part in ("python -m experiments.all_reports", "--runs=runs", "--smoke_runs"):
    assert part in text
