"""All runs below a folder, ranked on one page.

Reads the results of finished runs and writes index.html: what pretraining is worth on each data set, then a table for
each number of labels. It trains nothing.

    python -m experiments.all_reports
    python -m experiments.all_reports --runs=runs/mnist
    python -m experiments.all_reports --smoke_runs

Reads every results.jsonl below --runs (default runs) and writes index.html there: offline, with links to the runs' own
reports, columns that sort and lines that can be filtered.

For each data set and number of labels, the page begins with the best pretrained encoder, held against its own run's
scratch, beside the best of what was not pretrained; below, a leaderboard has every line.

A line is a method in one mode of one run: the mean and standard deviation over label subsets, and the difference to
that run's own scratch with its 95% interval. Raw pixels, random encoders and scratch, which many runs repeat, are
marked, and shown once where they agree to the last digit. Rows that were tested on other examples, drew or validated on
other labels, or are of another score, never share a table. Rows of --smoke runs are left out.
"""

from pathlib import Path

from absl import flags

from experiments.shared import cli
from sslx.types import UserError

FLAGS = flags.FLAGS

flags.DEFINE_string("runs", "runs", "Folder that holds run directories, at any depth.")
flags.DEFINE_bool("smoke_runs", False, "Keep --smoke runs, whose numbers mean nothing.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.evaluation.recipe import Recipe
  from sslx.report import index, leaderboard

  folder = Path(FLAGS.runs)
  if not folder.is_dir():
    raise UserError(f"--runs={folder}: no such folder; name the --out of your experiments.")
  runs, left_out = index.gather(folder)
  for sentence in left_out:
    cli.tell(sentence)
  kept = runs if FLAGS.smoke_runs else index.without_smoke(runs)
  smoke = sum(not rows for rows in kept.values())
  if smoke:
    left_out.append(f"Left out {smoke} --smoke run{'' if smoke == 1 else 's'}; --smoke_runs keeps them.")
    cli.tell(left_out[-1])
  if not any(kept.values()):
    cure = (
      "--smoke_runs keeps those of --smoke runs" if smoke else "run an experiment first, such as experiments.low_label"
    )
    raise UserError(f"--runs={folder}: no results below it; {cure}.")
  defaults = Recipe().to_json()
  lines = [line for run, rows in kept.items() if rows for line in index.lines(folder, run, rows, defaults)]
  boards = index.boards(lines)
  for board in boards:
    cli.tell(leaderboard.ranked_sentence(board))
  title = f"What pretraining is worth: {len(kept) - smoke} run{'' if len(kept) - smoke == 1 else 's'}"
  page = leaderboard.write_index(folder / "index.html", title, cli.command("all_reports"), boards, left_out)
  cli.tell(f"Index: {page}")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
