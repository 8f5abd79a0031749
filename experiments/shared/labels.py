"""Which labels are used, and what is kept of what they train: flags of all experiments, and what they say."""

import re
import typing
from typing import TYPE_CHECKING

from absl import flags

from sslx import options
from sslx.types import Subset, UserError

if TYPE_CHECKING:
  from sslx.data import Dataset

FLAGS = flags.FLAGS

flags.DEFINE_list(
  "labels", ["100"], "How many labels: 20,100 or 1%,all. One or several numbers or percentages; all: every label."
)
flags.DEFINE_integer("seeds", 5, "Label subsets, each drawn anew. Tables have their mean and spread.")
flags.DEFINE_enum(
  "subset", "balanced", typing.get_args(Subset),
  "How labels are drawn: balanced (every class alike, as far as it goes), or stratified (each class in proportion to "
  "its frequency, at least one of each).",
)  # fmt: skip
flags.DEFINE_integer(
  "folds",
  5,
  "Parts of the labels, where there is no test split. Each is judged by models of the others; --seeds times.",
)
flags.DEFINE_string("labels_file", None, "Labels of files: a CSV with the columns path and class. For DIR/unlabeled.")
flags.DEFINE_string(
  "validation", "cv", "Where hyper-parameters are chosen: cv (inside the labelled subset) or heldout:N (N more labels)."
)
flags.DEFINE_enum(
  "save",
  "best",
  ["best", "all", "none"],
  "Which models to keep, in models/. best: of the best line; all: of each line.",
)


flags.DEFINE_string("model", None, "Model to use: a run directory, or a folder of its models/.")


def how_to_label(dataset: "Dataset") -> str:
  """What gives a data set without labels some, in words; empty where nothing does."""
  from sslx.data import DATASETS, path_of

  kind, path = dataset.name.partition(":")[0], path_of(dataset.name)
  if path is not None and DATASETS[kind].files and (path / "unlabeled").is_dir():
    return f"move some files to {path / 'train'}/CLASS/, or name their classes with --labels_file"
  return {"npz": "add train_images and train_labels", "csv": "fill a column of targets"}.get(kind, "")


def bound(name: str, **limits: float) -> None:
  """Gives a flag that is no setting a range, see `options.beyond`."""

  def check(value: float) -> bool:
    why = options.beyond(value, **limits)
    if why:
      raise flags.ValidationError(why)
    return True

  flags.register_validator(name, check)


bound("seeds", above=0, high=10_000)
bound("folds", low=2, high=1000)


def heldout() -> int:
  """The N of --validation=heldout:N; 0 for cv."""
  kind, _, n = FLAGS.validation.partition(":")
  if FLAGS.validation == "cv":
    return 0
  if kind != "heldout" or not n.isdecimal() or len(n) > 18 or int(n) < 1:
    raise UserError(f"--validation={FLAGS.validation}: expected cv, or heldout:N with N labels, such as heldout:5000.")
  return int(n)


def label_counts(dataset: "Dataset", heldout: int) -> list[int]:
  """The numbers of --labels, ascending; percentages are of the labels that `heldout` leaves, which `all` means. Without
  a test split, of those that each of the --folds leaves; they are also the default then.

  Raises:
    UserError: one that is no number or percentage (how many fit is checked later).
  """
  counts, everything, labels = set(), len(dataset.train) - heldout, FLAGS.labels
  if not len(dataset.test) and dataset.train.y is not None:
    from sslx.evaluation import folds

    everything = folds.largest(dataset.task, dataset.train.y, FLAGS.folds) - heldout
    labels = ["all"] if labels == FLAGS["labels"].default else labels
  for text in map(str.strip, labels):
    percent = re.fullmatch(r"(\d+\.?\d*|\.\d+)%", text)
    number = text.isdecimal() and len(text) <= 18
    if text != "all" and not number and not (percent and 0 < float(percent[1]) <= 100):
      raise UserError(
        f"--labels={','.join(FLAGS.labels)}: {text!r} is neither a number of labels, a percentage such as 10%, nor all."
      )
    counts.add(round(everything * float(percent[1]) / 100) if percent else everything if text == "all" else int(text))
  if not counts:
    raise UserError("--labels=: name at least one number of labels, such as --labels=100.")
  return sorted(counts)
