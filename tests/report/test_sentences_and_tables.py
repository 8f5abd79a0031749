"""sslx.report.sentences and tables: what is said of known rows."""

from report_rows import FROZEN, SCRATCH, row, rows

from sslx import report


def test_verdicts():
  base = [0.80, 0.82, 0.81, 0.802]
  modes = {
    "scratch": base,
    "frozen": [x + d for x, d in zip(base, (0.030, 0.031, 0.032, 0.031), strict=True)],
    "full": [x + d for x, d in zip(base, (0.012, -0.01, 0.02, -0.01), strict=True)],
    "last:1": [x - d for x, d in zip(base, (0.030, 0.031, 0.032, 0.031), strict=True)],
    "raw": [0.79, 0.79, 0.79, 0.79],
  }
  sentences = report.verdict(report.summarise(rows(**modes)))
  assert sentences[:3] == [
    "frozen: +3.1 points over scratch at 100 labels, 95% CI [+3.0, +3.2]: better.",
    "full: +0.3 points over scratch at 100 labels, 95% CI [-2.1, +2.7]: the interval includes zero: "
    "no measurable difference.",
    "last:1: -3.1 points against scratch at 100 labels, 95% CI [-3.2, -3.0]: worse.",
  ]
  assert sentences[3] == (
    "last:1 does not beat raw (a probe on the raw pixels) at 100 labels: mean 77.7% against 79.0%."
  )
  assert len(sentences) == 5
  assert "share one pretraining run" in sentences[4]


def test_no_scratch_one_mode_one_seed():
  summary = report.summarise(rows(frozen=[0.9]))
  assert report.verdict(summary) == ["frozen: there is no scratch row at 100 labels: not compared."]
  assert summary[0].std is None
  assert " 90.0 |" in report.markdown(report.results_cells(summary))
  single = report.summarise(rows(labels=1, scratch=[0.8], frozen=[0.9]))
  assert report.verdict(single) == [
    "frozen: +10.0 points over scratch at 1 label, on one labelled subset: too few for an interval, so no claim."
  ]
  apart = report.summarise([row("scratch", 0, 0.8), row("frozen", 1, 0.9)])
  assert "no labelled subset in common" in report.verdict(apart)[0]
  assert report.verdict(report.summarise(rows(scratch=SCRATCH))) == ["There is no pretrained encoder to judge yet."]
  assert report.verdict([]) == ["There are no results yet."]
  assert report.markdown(report.results_cells([])).startswith("| labels")


def test_markdown_tables():
  given = rows(**{"scratch": SCRATCH, "a|b [red]": FROZEN})
  table = report.markdown(report.results_cells(report.summarise(given)))
  lines = table.splitlines()
  assert len(lines) == 4
  assert "| 81.0 ± 1.0 |" in lines[2]
  assert r"a\|b [red]" in lines[3]
  assert "+2.0 [-0.5, +4.5]" in lines[3]
  assert "1,000" in report.markdown(report.parameters_cells(report.summarise(given)))


def test_parameters_are_listed_once_per_mode():
  summary = report.summarise(rows(10, frozen=[0.5]) + rows(100, frozen=[0.6]))
  assert len(report.parameters_table(summary).cells.rows) == 1


def test_results_fit_a_terminal_of_80_columns():
  from rich.console import Console

  summary = report.summarise([*rows(scratch=SCRATCH, frozen=FROZEN), row("frozen", 0, 0.9, method="byol")])
  console = Console(width=80)
  with console.capture() as captured:
    console.print(report.rich_table(report.results_table(summary)))
  assert "+2.0 [-0.5, +4.5]" in captured.get()
  assert "denoising" in captured.get()
