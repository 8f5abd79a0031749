"""How many pretrained blocks to train on the labels?

From none (the network stays frozen) to all of them (fine-tuning), with few labels and with many.

    python -m experiments.freezing --methods=denoise,simclr --labels=30,1000
    python -m experiments.freezing --checkpoint=DIR
    python -m experiments.freezing --flagfile=experiments/flags/freezing.flags

The last line makes the figure of docs/comparisons.md. Every method (--methods, or --method, or --checkpoint) pretrains
the same encoder; then the head and its last 0, 1, 2 ... blocks are trained on nested, balanced subsets of --labels
(default 30, 100, 300, 1000, 10,000), --seeds of each. With 0 blocks that is the mode `frozen`, with all of them `full`.
Beside it training from scratch, the random encoder and raw pixels.

With few labels a trained block forgets more than it learns; with many a frozen one holds the rest back. Yosinski,
Clune, Bengio, Lipson: How transferable are features in deep neural networks?, NIPS 2014, arXiv 1411.1792 draw the same
trade-off over layers, for labels of another task. `frozen` is fitted by L-BFGS with its L2 chosen inside the labels,
the other modes by gradient steps with one fixed recipe: at least 150 steps and 10 passes over the labels, or
--finetune_epochs.

Measured with the flag file on two CPU cores, in 18 minutes, three subsets (no published figure): simclr frozen is the
best at 30 (85.2 ± 1.2, scratch 74.1 ± 2.0) to 1,000 labels (97.3 ± 0.3, 95.9 ± 0.3), all blocks at 10,000 (98.9, 98.7);
rotation and denoise are best with two or all blocks trained at every number of labels, and frozen never above scratch.
"""

import time

from experiments import START
from experiments.shared import cli, methods, pages
from experiments.shared.cli import FLAGS

METHODS = ["denoise", "rotation", "simclr"]  # the defaults of flags here
LABELS = (30, 100, 300, 1000, 10_000)
FINETUNE_EPOCHS = 10.0


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import nn, report
  from sslx.report import figures, readings, statistics
  from sslx.report.pages import Figure

  compared, dataset = methods.given(methods=METHODS)
  blocks = nn.build(FLAGS.encoder).block_names
  depths = {"frozen": 0, **{f"last:{k}": k for k in range(1, len(blocks))}, "full": len(blocks)}
  cli.default(labels=methods.fitting(LABELS, dataset), modes=["scratch", *depths], finetune_epochs=FINETUNE_EPOCHS)
  directory = methods.open_directory("freezing", dataset)
  timings = {"start-up": time.monotonic() - START}
  outcome = methods.run_variants("freezing", compared, dataset, directory, timings)
  summary = report.summarise(outcome.rows)
  path = directory / "figures/blocks.png"
  figures.save(figures.trained_blocks(summary, depths), path)
  caption = "Mean and standard deviation over label subsets. Right of each curve, hollow: training from scratch."

  def name(entry: report.Entry) -> str:
    depth = depths.get(entry.mode)
    return entry.mode if depth is None else f"{depth} of {len(blocks)} blocks"

  sentences = []
  for variant in compared:
    for labels in sorted({e.labels for e in summary}):
      mine = [
        e
        for e in summary
        if e.labels == labels and (e.mode == "scratch" or (e.method == variant.title and e.mode in depths))
      ]
      if len(mine) > 1:
        ranked = readings.ranking(mine, name, len(dataset.test))
        sentences.append(readings.reading(f"{variant.title}, {labels:,} labels", ranked))
  score = summary[0].score
  heading = f"{statistics.title(score)} against trained blocks"
  note = report.curve_note(score, folded=report.folded(summary))
  tables = [report.Table(heading, report.curve_cells(summary), note)]
  drawn = Figure(heading, caption, path, "plot")
  lead = pages.Lead(tables, [note, readings.note(score)], [], sentences, drawn)
  title = f"How many blocks to train: {', '.join(v.title for v in compared)} on {dataset.name}"
  pages.write_report("freezing", title, directory, heading, outcome, timings, methods.budget(), lead=lead)


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
