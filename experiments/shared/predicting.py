"""The steps of experiments.predict: a model is found, files are read, answered, and told in a table and on a page."""

import itertools
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.shared import cli, predictions
from experiments.shared.cli import FLAGS
from experiments.shared.terminal import notify
from sslx.types import UserError, cut

if TYPE_CHECKING:
  from sslx.data.reading import Files
  from sslx.fitted import Fitted

TABLE = "predictions.csv"
BROKEN = b"path,why\n"  # how the list of broken files begins
AT_ONCE = 500  # examples that are encoded
NAMED = 5  # broken files on the terminal
WORDS = 160  # letters of a text on the page


def table_path(out: str) -> Path:
  """--out as the path of a table: as it is where it ends in .csv, else in the folder that it names.

  Raises:
    UserError: there is a file that is no table of predictions.
  """
  path = Path(out) if out.endswith(".csv") else Path(out) / TABLE
  if path.is_dir():
    raise UserError(f"--out={out}: is a folder; name a file.")
  above = next(parent for parent in path.absolute().parents if parent.exists())
  if not above.is_dir():
    raise UserError(f"--out={out}: {above} is a file; name a folder, or a table that ends in .csv.")
  if path.is_file() and not path.read_bytes().startswith(b"path,"):
    raise UserError(f"--out={out}: {path} is no table of predictions and stays; name another file.")
  return path


def model_of(place: str | None) -> "Fitted":
  """The model of --model."""
  from sslx import models

  if place is None:
    raise UserError("--model: name a run directory that has models/best, or the folder of a model.")
  try:
    return models.read(models.find(place))
  except UserError as error:
    raise UserError(f"--model={place}: {str(error).removeprefix(f'{place}: ')}") from error


def sorted_folder(place: str | None, fitted: "Fitted") -> Path | None:
  """--sorted. Raises UserError where there is something already, or the model gives no class to each file."""
  if place is None:
    return None
  if fitted.task.name != "classification":
    raise UserError(f"--sorted={place}: is for a class of each file, and this model does {fitted.task.name}.")
  folder = Path(place)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(f"--sorted={place}: is there already; name a new folder.")
  return folder


def read(fitted: "Fitted", places: Sequence[str], skip_broken: bool) -> "Files":
  """The files of --images, as the model takes them."""
  from sslx.data import images, reading
  from sslx.predicting import how_read
  from sslx.training.progress import progress

  if not places:
    raise UserError("--images: name files or a folder, such as --images=photos.")
  whole, name = ",".join(places), fitted.modality.name
  places = [whole] if os.path.exists(whole) else places  # a name with a comma in it
  how = how_read(fitted)
  how |= {"background": images.colour(FLAGS.background)} if FLAGS["background"].present else {}
  how |= {"bits": FLAGS.bits} if FLAGS["bits"].present else {}
  try:
    files, begin = reading.files_of(places, name), time.monotonic()
    how |= {"skip_broken": skip_broken, "in_memory_limit": FLAGS.in_memory_limit}
    with progress("reading files", len(files)) as bar:
      bar.begun(0)

      def told(done: int) -> None:
        bar.update(done, {}, done / (time.monotonic() - begin))

      return reading.read(files, name, fitted.x_shape, fitted.meaning, **how, progress=told)
  except UserError as error:
    cure = f"; this model was made for {name}" if "holds no" in str(error) else ""
    raise UserError(f"--images={cut(whole, 60)}: {error}{cure}.") from error


def answers(fitted: "Fitted", files: "Files", features_out: str | None) -> np.ndarray:
  """As `sslx.predict` gives them. Features [N,D] go to `features_out`, where it is given: of maps their means."""
  from sslx import fitted as fits
  from sslx.evaluation.bench import MAPS_AT_ONCE
  from sslx.evaluation.features import extract
  from sslx.report import records
  from sslx.training.progress import progress

  represent, head = fitted.predictor.represent, fitted.predictor.head
  batch = MAPS_AT_ONCE if represent.is_map else AT_ONCE
  count, begin = itertools.count(1), time.monotonic()
  with progress("predicting", math.ceil(len(files.kept) / batch)) as bar:

    def counted(function: Any) -> Any:
      def each(x: Any) -> Any:
        out = function(x)
        done = next(count)
        bar.update(done, {}, done * batch / (time.monotonic() - begin))
        return out

      return each

    features = None
    if represent.is_map:
      outputs = extract(counted(lambda x: head.outputs(represent(x))), files.x, batch)
    else:
      features = extract(counted(represent), files.x, batch)
      outputs = head.outputs(features)
  if features_out is not None:
    if features is None:
      features = extract(represent._replace(reading="pool"), files.x)
    with records.writing(features_out) as temporary, temporary.open("wb") as file:
      np.savez(file, features=features.reshape(len(features), -1), paths=np.array(files.kept))
    cli.tell(f"Features: {features_out}")
  return fits.answers(fitted, outputs)


def write(
  fitted: "Fitted", files: "Files", answers: np.ndarray, said: predictions.Said, table: Path, command: str
) -> None:
  """The page, the list of broken files and, when all else is there, the table; then says on the terminal what they say.

  Of masks, PNG files too, in a folder beside the table.
  """
  from sslx import report
  from sslx.report import records, terminal

  headers, rows = said.headers, said.rows
  if fitted.task.name == "segmentation":
    masks = table.with_name(f"{table.stem}_masks")
    paths = predictions.write_masks(masks, answers.astype(np.uint8), files.kept)
    headers = [headers[0], "mask", *headers[1:]]
    rows = [[row[0], path, *row[1:]] for row, path in zip(rows, paths, strict=True)]
  page, broken = table.with_suffix(".html"), table.with_name(f"{table.stem}_broken.csv")
  lines = [[group.name, f"{len(group.rows):,}", group.mean] for group in said.groups]
  counts = report.Cells([said.what, "files", "on average"], lines)
  notes = _notes(fitted, files, broken)
  _write_page(page, fitted, files, answers, said, counts, notes, command)
  if files.broken:
    records.write_bytes(broken, BROKEN + predictions.text_of([], files.broken))
  elif broken.is_file() and broken.read_bytes().startswith(BROKEN):
    broken.unlink()  # of an earlier command
  records.write_bytes(table, predictions.text_of(headers, rows))
  terminal.show([report.Table(f"{len(files.kept):,} files by {_short(fitted)}", counts), *notes])
  if files.broken:
    for path, why in files.broken[:NAMED]:
      notify(f"passed over {path}: {why}")
  cli.tell(f"Predictions: {table}")
  cli.tell(f"Page: {page}")


def _write_page(
  page: Path,
  fitted: "Fitted",
  files: "Files",
  answers: np.ndarray,
  said: predictions.Said,
  counts: Any,
  notes: Sequence[str],
  command: str,
) -> None:
  from sslx.report import contact

  rows = sorted({int(row) for parts in contact.shown(said.groups) for part in parts for row in part})
  pictures = _pictures(fitted, files, rows, answers)
  facts = {name: str(value) for name, value in _facts(fitted).items() if value not in (None, "")}
  title = f"{len(files.kept):,} files, predicted"
  contact.write_contact(
    page, title, _short(fitted), said.groups, files.kept, pictures, counts, facts, notes, command
  )  # fmt: skip


def _pictures(
  fitted: "Fitted", files: "Files", rows: Sequence[int], answers: np.ndarray
) -> Mapping[int, np.ndarray | str]:
  """A small picture of each of some rows, or the beginning of its text."""
  from PIL import Image

  from sslx.data import reading
  from sslx.data.text_files import document_of
  from sslx.predicting import how_read
  from sslx.report.contact import SIDE

  if fitted.modality.name == "text":
    texts = {row: " ".join(document_of(files.kept[row])[: WORDS // 3]) for row in rows}
    return {row: text if len(text) <= WORDS else f"{text[:WORDS]} …" for row, text in texts.items()}
  if fitted.modality.name == "image":
    height, width = (max(1, round(SIDE * side / max(fitted.x_shape[:2]))) for side in fitted.x_shape[:2])
    paths = [files.kept[row] for row in rows]
    small = np.asarray(reading.read(paths, "image", (height, width, 3), **how_read(fitted)).x)
    return {row: _with_answer(fitted, x, answers[row]) for row, x in zip(rows, small, strict=True)}
  drawn = {}
  for row in rows:
    picture = fitted.modality.draw(np.asarray(files.x[np.array([row])]), fitted.meaning)[0]
    pixels = Image.fromarray((255 * np.repeat(picture, 3 // picture.shape[-1], -1)).round().astype(np.uint8))
    pixels.thumbnail((SIDE, SIDE))
    drawn[row] = np.asarray(pixels)
  return drawn


def _with_answer(fitted: "Fitted", picture: np.ndarray, answer: np.ndarray) -> np.ndarray:
  """A thumbnail with its mask, or its boxes, over it."""
  from PIL import Image, ImageDraw

  height, width = picture.shape[:2]
  if fitted.task.name == "segmentation":
    mask = Image.fromarray(answer.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    there = np.asarray(mask)[..., None] > 0
    return np.where(there, picture // 2 + np.array([128, 40, 0], np.uint8), picture).astype(np.uint8)
  if fitted.task.name != "detection":
    return picture
  image = Image.fromarray(picture)
  scale = np.tile((height / fitted.x_shape[0], width / fitted.x_shape[1]), 2)
  for row in answer[(answer[:, 0] >= 0) & (answer[:, 5] >= FLAGS.threshold)]:
    top, left, bottom, right = (row[1:5] * scale).tolist()
    ImageDraw.Draw(image).rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=(255, 60, 0))
  return np.asarray(image)


def _short(fitted: "Fitted") -> str:
  """A line on the model: `simclr, frozen, 120 labels of folder:photos`."""
  about = fitted.about
  method = about.get("method")
  parts = [method if method and method != "none" else "", fitted.mode, f"{len(fitted.rows):,} labels"]
  dataset = f" of {about['dataset']}" if about.get("dataset") else ""
  return ", ".join(filter(None, parts)) + dataset


def _facts(fitted: "Fitted") -> Mapping[str, Any]:
  about = fitted.about
  return {
    "Model": _short(fitted),
    "Task": f"{fitted.task.name}: {', '.join(fitted.task.names[:20])}{' ...' if len(fitted.task.names) > 20 else ''}",
    "Encoder": about.get("encoder"),
    "Score": about.get("score_told"),
    "Calibration": about.get("calibration_told"),
    "sslx": (about.get("versions") or {}).get("sslx"),
  }


def _notes(fitted: "Fitted", files: "Files", broken: Path) -> list[str]:
  """What a reader of the predictions should know."""
  about, notes = fitted.about, []
  if about.get("score_told"):
    notes.append(f"{about['score_told']} On files of another kind it may be right less often, and as sure.")
  if fitted.task.name in ("classification", "multilabel") and not about.get("calibrated"):
    notes.append("Confidences are not calibrated: 90% sure may not mean right in 90 of 100.")
  if files.broken:
    what = "file" if len(files.broken) == 1 else "files"
    notes.append(f"{len(files.broken):,} {what} could not be read and left out; {broken.name} lists which and why.")
  return notes
