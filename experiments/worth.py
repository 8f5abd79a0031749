"""Is pretraining worth it on my data?

Tries a panel of methods within --minutes, and what labels alone give; judges all of it by cross-validation inside the
labels, and keeps the best model.

    python -m experiments.worth --dataset=folder:DIR --image_size=32
    python -m experiments.worth --dataset=folder:DIR --image_size=32 --minutes=60
    python -m experiments.worth --dataset=mnist --labels=100 --methods=denoise,swav

No test split is needed, and one that is there is read once, at the end, for what was chosen. Of --dataset all labelled
examples are used, or --labels of them; the others, and those of unlabeled/, are pretrained on without labels. First the
references: raw signals, an untrained encoder, training from scratch and, without pretraining too, labels spread over
raw signals. Then the panel (--methods), by successive halving: each method is pretrained for an eighth of what a
comparison gives it, the three whose frozen encoders are best for longer, the best of these for as long as the time
allows. The winner is then used in every way. Each number is the mean over --folds folds, --seeds times over, with an
interval that covers other examples and other folds; the score of what is chosen is told without the luck of having been
chosen. A smaller number of labels gives the curve by which more labels are valued.
"""

import time

from absl import flags

from experiments import START
from experiments.shared import cli, methods, panel, runs, table, verdicts
from experiments.shared.cli import FLAGS
from sslx.types import UserError

flags.DEFINE_float("minutes", 20.0, "How long it may take, about. Budgets are numbers of steps that fit into it.")
cli.bound("minutes", above=0, high=10_000)


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.evaluation.modes import controls, doable

  cli.recipe()
  given = runs.load_dataset(FLAGS.dataset)
  kind = given.modality.name
  if given.task.name == "none" or kind not in panel.SUITED:
    raise UserError(f"--dataset={given.name}: a verdict needs labels of images, recordings or texts; add some.")
  suited = panel.SUITED[kind]
  cli.default(methods=suited.methods, encoder=suited.encoder or methods.common_encoder(kind), seeds=2, labels=["all"])
  names = methods.named(FLAGS.methods)
  dataset = panel.without_test(panel.few(given))
  encoder = runs.build_encoder(FLAGS.encoder, dataset)
  cli.default(modes=doable(verdicts.MODES, dataset))
  modes = cli.modes(dataset, encoder)
  directory = methods.open_directory("worth", dataset)
  clock = panel.Clock(directory, FLAGS.minutes)
  timings = {"start-up": time.monotonic() - START}
  FLAGS["labels"].value = ["all"]  # of those that are left
  contest = panel.Contest("worth", dataset, directory, table.draw(dataset, modes), encoder, timings)
  rows = panel.references(contest, [*controls(modes, dataset), *doable(["scratch"], dataset)])
  entrants, lines = panel.contested(contest, names, clock)
  rows += verdicts.used(contest, entrants, modes, clock)
  verdicts.conclude(contest, given, rows, entrants, lines, clock)


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
