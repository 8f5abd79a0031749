"""sslx.report.terminal: tables and sentences of any width, read as a terminal shows them."""

import io
import re

import pytest
from report_rows import FROZEN, SCRATCH, curve_rows, row, rows
from rich.cells import cell_len
from rich.console import Console

from sslx import report
from sslx.report import terminal

WIDTHS = (40, 60, 80, 120, 200)
VALUES = [0.80, 0.82, 0.81, 0.802, 0.9]
LONG = ("a" * 50 + "b" * 50, "a" * 50 + "c" + "b" * 49)  # which differ in the middle
MODES = ("frozen", "last:1", "full", "knn:20", "propagate")


def one_method() -> report.Table:
  modes = dict.fromkeys(("raw", "random", "scratch", "frozen", "last:1", "full"), VALUES)
  return report.results_table(report.summarise(rows(**modes)))


def results_of(**names) -> report.Table:
  """Rows of several of one thing: method=(...), dataset=(...)."""
  ((key, values),) = names.items()
  given = [{**r, key: value} for value in values for r in rows(scratch=SCRATCH, frozen=FROZEN)]
  return report.results_table(report.summarise(given))


def many_methods() -> report.Table:
  given = [r for mode in ("raw", "random", "scratch") for r in curve_rows(mode, "none", {100: VALUES})]
  names = [f"m{'e' * (i % 19)}{i:x}"[-20:] for i in range(24)]
  for place, name in enumerate(names):
    values = [value - 0.02 * (place % 5) for value in VALUES[::-1]]
    given += [r for mode in MODES for r in curve_rows(mode, name, {100: values})]
  return report.Table("Methods, 100 labels", report.methods_cells(report.summarise(given), 100), report.curve_note())


TABLES = {
  "one method": one_method,
  "24 methods": many_methods,
  "two data sets": lambda: results_of(dataset=("fashion_mnist", "npz:/data/stl10-unlabelled.npz")),
  "long names": lambda: results_of(method=(*LONG, "simclr")),
  "wide letters": lambda: results_of(method=("自己教師あり学習" * 4, "表現学習", "simclr")),
}


def text(table: report.Table, width: int | None) -> str:
  console = Console(file=io.StringIO(), width=width or terminal.ENDLESS, color_system=None)
  console.print(terminal.fitted_table(table, width, "report.html"))
  return console.file.getvalue()


def words(*texts: str) -> list[str]:
  return [word for each in texts for word in each.split()]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_terminal_and_no_word_is_torn(name, width):
  table = TABLES[name]()
  shown = text(table, width)
  assert max(map(cell_len, shown.splitlines())) <= width
  known = {*words(table.title, table.note, *table.cells.headers, *(cell for line in table.cells.rows for cell in line))}
  known |= {f"{word}:" for word in known} | {*words("Columns left out: seconds, seeds; seconds; report.html has them.")}
  for word in words(re.sub("─+", "", shown)):
    left, cut, right = re.sub(r"\(\d\):?$|:$", "", word).partition("…")
    whole = [each for each in known if each.startswith(left) and each.rstrip(":").endswith(right)]
    assert word in known or (cut and whole) or re.fullmatch(r"\d+", word), word


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_score_is_there_at_every_width(name, width):
  table = TABLES[name]()
  scores = [cell for line in table.cells.rows for cell in line if " ± " in cell]
  shown = re.sub(r"\s+", " ", text(table, width))
  for score in set(scores):
    times = sum(score in other for other in scores)
    assert shown.count(score) == times


def test_a_pipe_gets_one_line_a_row_with_whole_names():
  for make in TABLES.values():
    table = make()
    title, header, rule, *lines = [line for line in text(table, None).splitlines() if line]
    assert len(lines) == len(table.cells.rows) + 1
    assert (title, lines.pop()) == (table.title, table.note)
    assert header.split() == words(*table.cells.headers)
    assert set(rule) == {"─"}
    assert [line.split() for line in lines] == [words(*row) for row in table.cells.rows]


def test_the_least_important_columns_go_first():
  table, left_out = results_of(dataset=("fashion_mnist", "stl10-unlabelled")), []
  for width in range(120, 55, -1):
    shown = re.sub(r"\s+", " ", text(table, width))
    left_out += re.findall("Columns left out: (.*); report.html has them.", shown) or [""]
    assert [name for name in ("seconds", "seeds") if f"{name} " in shown] == [
      name for name in ("seconds", "seeds") if name not in left_out[-1]
    ]
  assert list(dict.fromkeys(left_out)) == ["", "seconds", "seconds, seeds"]
  assert left_out == sorted(left_out)


def test_methods_stand_in_several_tables_with_their_names():
  table = many_methods()
  narrow = text(table, 60)
  heads = [line.split() for line in narrow.splitlines() if line.startswith("method")]
  assert [mode for head in heads for mode in head[1:]] == list(MODES)
  assert len(heads) > 1
  assert all(head[0] == "method" for head in heads)
  assert len(re.findall("^no pretraining", narrow, re.MULTILINE)) == len(heads)


def test_what_is_still_too_wide_stands_row_by_row():
  shown = text(one_method(), 40)
  assert "4  labels: 100\n   mode: frozen\n   accuracy %: 82.6 ± 4.2\n   vs scratch [95% CI]: +0.0\n" in shown
  assert "seconds:" not in shown


@pytest.mark.parametrize("width", [40, 60, 80])
def test_names_that_are_alike_when_they_are_short_are_told_apart(width):
  shown = re.findall(r"\S+…\S+", text(results_of(method=(*LONG, "simclr")), width))
  assert len(shown) == 4
  first, again, second, _ = shown
  assert first == again != second
  assert first.startswith("aaa")


def test_names_are_whole_where_there_is_room():
  table = results_of(method=(*LONG, "simclr"))
  assert all(name in text(table, 200) for name in LONG)
  assert "…" in text(table, 140)
  assert "seconds" in text(table, 140)  # shortened before a column is left out


def test_columns_are_flush_where_letters_are_wide():
  lines = text(TABLES["wide letters"](), 80).splitlines()
  places = {cell_len(line[: line.index(" 100 ")]) for line in lines if " 100 " in line}
  assert len(places) == 1


def test_sentences_are_folded_at_words_and_intervals_stay_whole():
  sentence = f"{'long' * 30}: +3.1 points over scratch at 100 labels, 95% CI [-12.0, +13.2]: no measurable difference."
  for width in range(40, 120):
    lines = str(terminal.paragraph(sentence, width)).splitlines()
    assert max(map(len, lines)) <= width
    assert all(line.startswith("  ") for line in lines[1:])
    assert any("[-12.0, +13.2]" in line for line in lines)
  assert str(terminal.paragraph(sentence, None)) == sentence


def test_what_is_printed_fits_its_place(capsys, monkeypatch):
  for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
    monkeypatch.delenv(name, raising=False)
  table, sentence = many_methods(), "word " * 100
  terminal.show([table, sentence], style="bold")
  pipe = capsys.readouterr().out
  assert "\x1b" not in pipe
  assert sentence.strip() in pipe
  assert table.note in pipe.splitlines()
  monkeypatch.setenv("COLUMNS", "60")
  terminal.show([table, sentence], style="bold")
  narrow = capsys.readouterr().out
  assert max(map(cell_len, narrow.splitlines())) == 60
  assert "\x1b" not in narrow
  monkeypatch.setenv("FORCE_COLOR", "1")
  monkeypatch.setenv("TERM", "xterm")
  terminal.show([sentence], style="bold")
  assert "\x1b[1m" in capsys.readouterr().out


def test_an_empty_table_is_shown():
  for width in (40, None):
    assert "labels" in text(report.results_table([]), width)
    assert "method" in text(report.Table("T", report.Cells(["method"], [])), width)
  assert row("frozen", 0, 0.5)["mode"] in text(report.results_table(report.summarise([row("frozen", 0, 0.5)])), 40)
