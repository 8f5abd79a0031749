"""The table and the page of experiments.label_next: examples by name, as a person sees or hears them."""

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import cli
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from experiments.shared.given import Given
  from sslx.data import Split
  from sslx.report.labelling import Item

LETTERS = 4000  # of a text on the page
HEARD = 30  # seconds of a recording
TOLD = 10  # lines of the table on the terminal


class Shown(NamedTuple):
  """What the table and the page show."""

  table: str
  """Its name, without .csv."""
  page: str
  """Its name, without .html."""
  headers: Sequence[str]
  lines: Sequence[Sequence[Any]]
  items: "Sequence[Item]"
  title: str
  told: str
  """In a sentence."""


def name_of(given: "Given", part: str, row: int) -> str:
  """How labels.csv names an example: its file below the data's folder, or else `train/12`."""
  files = given.split(part).files
  if files is None:
    return f"{part}/{row}"
  return _named(Path(files[row]), given.root)


def item(given: "Given", split: "Split", row: int, name: str) -> "Item":
  """An example as the page shows it: the picture of its file, or what the model sees of it; a recording to be heard."""
  import jax.numpy as jnp

  from sslx.data import images
  from sslx.ops.sound import PAD
  from sslx.report import sounds
  from sslx.report.labelling import Item, encoded

  dataset, file = given.dataset, None if split.files is None else split.files[row]
  x = np.asarray(split.x[np.array([row])])
  kind = dataset.modality.name
  if kind == "text":
    return Item(name, text=_text(file) or " ".join(dataset.vocabulary.decode(x[0]) if dataset.vocabulary else ()))
  if kind == "image" and file is not None:
    try:
      with images.without_size_warnings():
        pixels = images.decode(file, 3, background=images.colour(FLAGS.background), bits=FLAGS.bits)
      return Item(name, picture=encoded(pixels))
    except UserError:  # a mask or a number is read from it otherwise
      pass
  picture = encoded(dataset.modality.draw(x, dataset.meaning)[0])
  if kind != "sound":
    return Item(name, picture=picture)
  wave = np.asarray(dataset.modality.prepare(jnp.asarray(x)))[0]
  return Item(name, picture=picture, sound=sounds.encoded(wave[wave > PAD][: HEARD * dataset.rate], dataset.rate))


def _text(file: str | None) -> str:
  """The beginning of a file, as it is written."""
  from sslx.data.text_files import decoded

  try:
    text = "" if file is None else next(decoded(file), "")
  except UserError:
    return ""
  return text if len(text) <= LETTERS else f"{text[:LETTERS]} …"


def write(given: "Given", shown: Shown) -> None:
  """The table and the page; then says where they are, and what to do with them."""
  from experiments import called
  from sslx import report
  from sslx.data import DATASETS
  from sslx.report import records, terminal
  from sslx.report.labelling import write_labelling

  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows([shown.headers, *shown.lines])
  table, page = given.directory / f"{shown.table}.csv", given.directory / f"{shown.page}.html"
  records.write_text(table, text.getvalue())
  write_labelling(page, shown.title, shown.told, shown.items, given.classes, _earlier(given))
  cells = report.Cells(list(shown.headers), [list(map(str, line)) for line in shown.lines[:TOLD]])
  terminal.show([shown.told], style="bold")
  terminal.show([report.Table("The first of them", cells)], elsewhere=table.name)
  cli.tell(f"Table: {table}")
  cli.tell(f"Page: {page}")
  spec = FLAGS.dataset if FLAGS["dataset"].present else given.dataset.name
  if not DATASETS[spec.partition(":")[0]].files:
    cli.tell(f"labels.csv of the page names examples by split and row; --labels_file does not take it for {spec}.")
    return
  size = f" --image_size={FLAGS.image_size}" if FLAGS.image_size else ""
  again = f"{called('low_label')} --dataset={shlex.quote(spec)}{size} --labels_file=labels.csv"
  cli.tell(f"Label on the page, save labels.csv, then: {again}")


def _earlier(given: "Given") -> dict[str, str]:
  """{path: class} of --labels_file, which the page saves again with the new ones, under the names that it gives."""
  if FLAGS.labels_file is None:
    return {}
  table, root = Path(FLAGS.labels_file).expanduser(), given.root
  with table.open(newline="", encoding="utf-8-sig") as file:
    rows = [(row["path"], row["class"]) for row in csv.DictReader(file)]
  places = [table.parent] if root is None else [root, root / "unlabeled", table.parent]
  return {
    _named(next((p / path for p in places if (p / path).exists()), Path(path)), root): name for path, name in rows
  }


def _named(path: Path, root: Path | None) -> str:
  path = path.absolute()
  return path.relative_to(root).as_posix() if root is not None and path.is_relative_to(root) else str(path)
