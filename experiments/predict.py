"""What does a model say of my files?

Predicts images, recordings or texts by a model that an experiment or sslx.save has kept: a table with the classes and
how sure of them the model is, and a page with the surest and the least sure of each class.

    python -m experiments.predict --model=RUN --images=DIR
    python -m experiments.predict --model=RUN --images=a.jpg,b.jpg --top=5
    python -m experiments.predict --model=RUN --images=DIR --sorted=BY_CLASS

--out is the table, by default predictions.csv here, and the page lies beside it. In the table, a line for each file:
path, class, confidence and the classes after it; of numbers a column each, of several classes at once how likely each
is; of boxes a line each in the pixels of the file; of masks how much of the picture each class covers, and a PNG file.
Confidences are calibrated where the model is. Files are written whole or not at all, and those of an earlier command
are replaced.
"""

from absl import flags

from experiments.shared import cli, predicting, predictions
from sslx.types import UserError

FLAGS = flags.FLAGS

flags.DEFINE_list("images", [], "Files and folders to predict, also of sound or text. Patterns will do, too.")
flags.DEFINE_integer("top", 3, "Classes told of each file, the likeliest first.")
flags.DEFINE_float("threshold", 0.3, "Score from 0 to 1 that a box needs to be told.")
flags.DEFINE_bool("skip_broken", False, "Pass over files that cannot be read. They are listed beside the table.")
flags.DEFINE_string("features_out", None, "Also write features here. An npz file with features and paths.")
flags.DEFINE_string("sorted", None, "Also copy the files to a folder for each class here.")
flags.DEFINE_bool("link", False, "Make links instead of copies for --sorted.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  cli.default(out=predicting.TABLE)
  table = predicting.table_path(FLAGS.out)
  fitted = predicting.model_of(FLAGS.model)
  target = predicting.sorted_folder(FLAGS.sorted, fitted)
  if not 1 <= FLAGS.top <= predictions.MOST:
    raise UserError(f"--top={FLAGS.top}: must be from 1 to {predictions.MOST}.")
  read = predicting.read(fitted, FLAGS.images, FLAGS.skip_broken)
  answers = predicting.answers(fitted, read, FLAGS.features_out)
  said = predictions.said(fitted, answers, read.kept, FLAGS.top, FLAGS.threshold)
  predicting.write(fitted, read, answers, said, table, cli.command("predict"))
  if target is not None and said.classes is not None:
    classes = [fitted.task.names[k] for k in said.classes]
    predictions.sort_files(target, read.kept, classes, FLAGS.link)
    cli.tell(f"Files by class: {target}")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
