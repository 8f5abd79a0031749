"""Which of my files should be labelled next?

Chooses files without a label, and writes a page on which one labels them by clicks or keys: it saves labels.csv, which
--labels_file takes.

    python -m experiments.label_next --model=RUN --count=50
    python -m experiments.label_next --model=RUN --labels_file=labels.csv
    python -m experiments.label_next --model=RUN --suspects

RUN is a run directory, of a pretraining alone too, or the folder of a model. Files are of DIR/unlabeled; where there is
none, they are training examples that the model was not trained on. Strategies: typical of its cluster, least margin
between the two best classes, coreset (far from all labels), random; auto is typical up to ten labels a class, then
margin. The page saves the labels of --labels_file again, so that its labels.csv is whole. --suspects shows labelled
files instead whose label is doubted by models that did not see it, so that a person corrects it; labels.csv then
overrides. label_next.csv and labels.html, or suspects.csv and suspects.html, are in the run directory, or in --out. See
docs/labels.md.
"""

from absl import flags

from experiments.shared import cli, given, labelling, labels_page
from experiments.shared.cli import FLAGS

flags.DEFINE_integer("count", 50, "Files to label, at most.")
flags.DEFINE_enum("strategy", "auto", labelling.STRATEGIES, "How they are chosen.")
flags.DEFINE_bool("suspects", False, "Show labelled files that are probably mislabelled. In place of new ones.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  cli.positive("count")
  of = given.given(unseen=FLAGS.suspects)
  labels_page.write(of, labelling.suspects(of) if FLAGS.suspects else labelling.chosen(of))


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
