"""Pretrained on one data set, worth what on others?

Pretrains on --dataset and trains on few labels of each of --targets, beside a network pretrained with all labels, and
training from scratch.

    python -m experiments.transfer --method=simclr --targets=fashion_mnist
    python -m experiments.transfer --checkpoint=DIR --targets=npz:FILE --oracle
    python -m experiments.transfer --targets=folder:DIR --image_size=28 --match_channels

Pretrains with --method (or each of --methods) on --dataset, or starts from --checkpoint, and compares the encoder on
--labels (default 100, 1000) of each of --targets: a head on it (`frozen`) and fine-tuning (`full`), or --modes.
Beside it: the same encoder pretrained on --dataset *with* its labels (`supervised`), a random one, training from
scratch, raw pixels and, with --oracle, the method pretrained on the target's own training images. The protocol is that
of Kornblith et al. (Do Better ImageNet Models Transfer Better?, 2019, arXiv 1805.08974) and Chen et al. (SimCLR, 2020,
arXiv 2002.05709, section B.8), with few labels and no hyper-parameter chosen on a test split.

A target's images must be of the shape that the encoder was made for; those without a dense layer take any size.
"""

import time
from typing import TYPE_CHECKING

from absl import flags

from experiments import START
from experiments.shared import cli, methods, pages, table
from experiments.shared.cli import FLAGS
from experiments.shared.targets import load_targets, target_names

if TYPE_CHECKING:
  from sslx.data import Dataset

flags.DEFINE_list("targets", [], "Data sets to transfer to, written as --dataset is.")
flags.DEFINE_bool("oracle", False, "Also pretrain on each target itself.")
flags.DEFINE_bool("match_channels", False, "Convert targets to grey, or to colour. Grey by luma, colour by repetition.")

LABELS = (100, 1000)  # the defaults of flags here
MODES = ["frozen", "full"]
NOTE = (
  "On the target, mean ± standard deviation over label subsets. frozen: a head on the frozen encoder; full: "
  "fine-tuned. supervised: pretrained with the labels of the source. ↑ (↓): the 95% interval of the difference to "
  "scratch on the target, paired by subset, lies above (below) zero. The line 'no pretraining' is a random encoder, "
  "frozen, and training from scratch under 'full'."
)


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx import nn

  specs = target_names(FLAGS.targets)
  given, source = methods.given(elsewhere=False)
  encoder = nn.build(FLAGS.encoder)
  targets = load_targets(specs, source, encoder.any_size, FLAGS.match_channels)
  cli.default(modes=MODES, labels=methods.fitting(LABELS, min(targets, key=lambda t: len(t.train))))
  for target in targets:
    table.draw(target, cli.modes(target, encoder))  # what does not fit is told before anything is trained
  compared = [variant._replace(dataset=source) for variant in given]
  if all(variant.method != "supervised" for variant in given):
    compared.append(methods.Variant("supervised", "supervised", dataset=source, images=methods.shown(given[0])))
  directory = methods.open_directory("transfer", source)
  timings = {"start-up": time.monotonic() - START}
  shared = methods.pretraining_once()

  def once(variant: methods.Variant, dataset: "Dataset", spent: methods.Timings) -> methods.Pretrained:
    return (methods.pretrain if variant.dataset is None else shared)(variant, dataset, spent)

  oracles = (
    [methods.Variant(f"{v.title} on the target", v.method, v.hp, images=v.images) for v in given]
    if FLAGS.oracle
    else []
  )
  rows, lines, pictures = [], {}, {}
  for target in targets:
    cli.say(f"target: {target.name}")
    outcome = methods.run_variants("transfer", compared + oracles, target, directory, timings, pretrain=once)
    rows += outcome.rows
    names = {oracle.title: f"{oracle.method} on {pages.short_name(target.name)}" for oracle in oracles}
    for line in outcome.lines:
      name = names.get(line["method"], line["method"])
      lines[name] = {**line, "method": name}
    pictures |= {names.get(name, name): path for name, path in outcome.figures}
  outcome = pages.Outcome(rows, list(lines.values()), list(pictures.items()))
  names = ", ".join(v.title for v in given)
  title = f"{names}: from {source.name} to {', '.join(target.name for target in targets)}"
  facts = {"source": source.name, "targets": specs, **methods.budget()}
  ours = {methods.NONE, *(variant.title for variant in given)}  # neither `supervised` nor the oracle
  more = {"note": NOTE, "told": lambda entry: entry.method in ours}
  pages.write_report("transfer", title, directory, "Transfer", outcome, timings, facts, **more)


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
