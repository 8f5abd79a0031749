"""Which examples should be labelled first?

Pretrains, then labels in rounds: a strategy chooses examples, these get their labels, and a linear head on the frozen
network is trained on all that have some.

    python -m experiments.active
    python -m experiments.active --method=swav --labels=50,100,200
    python -m experiments.active --checkpoint=DIR --strategies=typical,random

Strategies are those of experiments.label_next: typical of its cluster, least margin between the two best classes,
coreset (far from all labels), auto (typical up to ten labels a class, then margin), random. No label is read before its
example is chosen, and nothing is chosen on test images. Margin, which needs a classifier, begins with the random
examples of the same seed. Classes are not balanced: nobody knows them before. The tables are printed; active.jsonl
and report.html are in the run directory. See docs/labels.md.
"""

import time
from pathlib import Path

from absl import flags

from experiments import START
from experiments.shared import cli, directories, rounds, runs
from experiments.shared.cli import FLAGS

flags.DEFINE_list("strategies", None, "How examples are chosen. Default: all.")
flags.DEFINE_integer("round", 50, "Examples that are chosen at a time. Each number of --labels is a multiple of it.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import report
  from sslx.report import figures, pages, records, terminal
  from sslx.report.tables import titled

  cli.default(labels=["50", "100", "200"])
  represent, dataset, config = rounds.pretrained()
  sizes = rounds.sizes(dataset)
  names = rounds.strategies()
  identity = {
    "experiment": "active", "pretraining": config, "dataset": dataset.name, "data": runs.fingerprint(dataset),
    "round": FLAGS.round, "smoke": FLAGS.smoke, "features": represent.reading,
  }  # fmt: skip
  directory = directories.open_directory(
    Path(FLAGS.out), identity, f"active-{config['method']}-{dataset.name}", FLAGS.fresh
  )
  made = {
    "experiment": "active", "method": config["method"], "encoder": config["encoder"], "dataset": dataset.name,
    "pretraining": config, "seed": config["seed"], "command": cli.command("active"), **records.provenance(),
  }  # fmt: skip
  begin = time.monotonic()
  rows = rounds.measure(represent, dataset, names, sizes, directory / "active.jsonl", made)
  summary = report.summarise(rows, baseline="random")
  tables = rounds.tables(summary, rows)
  records.write_text(directory / "tables.md", titled(tables))
  drawn = []
  if (curve := figures.label_curve(summary)) is not None:
    path = figures.save(curve, directory / "figures" / "labels.png")
    drawn = [pages.Figure("Accuracy and labels", rounds.CURVE, path, "plot")]
  facts = {"Seconds": f"{time.monotonic() - begin:.0f}", "Start-up and pretraining": f"{begin - START:.0f}"}
  page = pages.write_gallery(
    directory / "report.html", f"Which examples should be labelled first? {config['method']} on {dataset.name}",
    f"{config['encoder']} · {made['device']}", cli.command("active"), facts, [], drawn, [], FLAGS.smoke, first=tables,
  )  # fmt: skip
  terminal.show([rounds.headline(summary)], style="bold")
  terminal.show(tables, elsewhere=page.name)
  cli.tell(f"Report: {page}")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
