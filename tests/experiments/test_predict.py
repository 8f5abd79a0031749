"""Files predicted: the table is what sslx.predict says, places are those of the files, and bad input is one line."""

import csv
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import Page, call
from PIL import Image

import sslx
from experiments.shared import predictions
from sslx import models, nn
from sslx.data import reading
from sslx.data.types import Dataset, Split, sound_classes
from sslx.evaluation import bench, evaluate
from sslx.evaluation.recipe import Recipe
from sslx.fitted import Fitted
from sslx.modalities import MODALITIES
from sslx.tasks import TASKS


def fitted(data: Dataset, mode: str = "frozen", spec: str = "conv:widths=4-6", labels: int = 24) -> Fitted:
  """On features of random weights, which stand for pretrained ones."""
  encoder = nn.build(spec)
  weights = nn.init(encoder, jax.random.key(1), data.modality.prepare(jnp.asarray(data.train.x[:2])))
  represent = nn.Representation(encoder, data.task.reading, *weights, data.modality.prepare)
  case, labelled = bench.Case(mode, labels, 0), bench.draw(data, [labels], 1, 0)
  on = bench.Bench(data, labelled, represent, Recipe(steps=3), 0)
  predictor = evaluate.train(on, [case])[case].predictor
  return Fitted(mode, labelled.rows(), data.task, data.modality, data.x_shape, predictor, data.meaning, 0.5)


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory) -> Path:
  """A run directory with a model of the toy images' classes."""
  folder = tmp_path_factory.mktemp("run")
  models.write(fitted(toy), folder / "models/best")
  return folder


@pytest.fixture
def photos(toy, tmp_path) -> Path:
  """Images in two folders, some of another size and in colour, and a text."""
  for i, x in enumerate(toy.test.x[:12, ..., 0]):
    path = tmp_path / "photos" / "ab"[i % 2] / f"{i // 2}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(x)
    picture = picture.resize((30, 24)) if i % 3 == 0 else picture
    (picture.convert("RGB") if i % 4 == 0 else picture).save(path)
  (tmp_path / "photos/a/notes.txt").write_text("no image")
  return tmp_path / "photos"


def table(path: Path) -> list[dict[str, str]]:
  with path.open(newline="") as file:
    return list(csv.DictReader(file))


def test_the_table_is_what_predict_says(run, photos, toy, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert call("predict", f"--model={run}", "--images=photos") == 0
  rows = table(tmp_path / "predictions.csv")
  files = reading.files_of(["photos"], "image")
  assert [row["path"] for row in rows] == files == sorted(files)
  p = sslx.predict(run, photos)
  np.testing.assert_array_equal(sslx.predict(models.read(run / "models/best"), files), p)
  model = models.read(run / "models/best")
  x = reading.read(files, "image", toy.x_shape).x
  z = model.predictor.outputs(x) / 0.5  # the model's temperature
  np.testing.assert_allclose(p, np.exp(z) / np.exp(z).sum(1, keepdims=True), rtol=1e-5)
  order = np.argsort(-p, axis=1)
  for row, best, sure in zip(rows, order, p, strict=True):
    assert [row["class"], row["second"], row["third"]] == [toy.task.names[k] for k in best]
    told = [float(row[name]) for name in ("confidence", "second_confidence", "third_confidence")]
    np.testing.assert_allclose(told, sure[best], atol=6e-5)


def test_files_that_are_listed_twice_have_two_rows(run, photos):
  files = [photos / "b/1.png", photos / "a/0.png", photos / "b/1.png"]
  p = sslx.predict(run, files)
  np.testing.assert_array_equal(p[0], p[2])
  np.testing.assert_allclose(p[1], sslx.predict(str(run), str(files[1]))[0], rtol=1e-4)


def test_the_page_shows_each_file_under_its_class(run, photos, tmp_path):
  assert call("predict", f"--model={run}", f"--images={photos}", f"--out={tmp_path / 'out'}") == 0
  page = Page((tmp_path / "out/predictions.html").read_text())
  rows = table(tmp_path / "out/predictions.csv")
  assert page.tags.count("img") == len(rows)
  links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
  assert {(tmp_path / "out" / link).resolve() for link in links} == {Path(row["path"]).resolve() for row in rows}
  sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
  assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
  assert "Confidences are not calibrated" in page.text


def test_files_are_sorted_into_folders_of_their_classes(run, photos, tmp_path):
  given = ["predict", f"--model={run}", f"--images={photos}", f"--out={tmp_path / 'p.csv'}"]
  for name, link in (("copies", []), ("links", ["--link"])):
    assert call(*given, f"--sorted={tmp_path / name}", *link) == 0
    found = {path.relative_to(tmp_path / name).parts[0]: path for path in (tmp_path / name).rglob("*.png")}
    rows = table(tmp_path / "p.csv")
    assert set(found) == {row["class"] for row in rows}
    for row in rows:
      same = [p for p in (tmp_path / name / row["class"]).iterdir() if p.read_bytes() == Path(row["path"]).read_bytes()]
      assert same
      assert all(path.is_symlink() == bool(link) for path in same)
    assert len(list((tmp_path / name).rglob("*.png"))) == len(rows)  # a/1.png and b/1.png are two


def test_what_is_there_already_is_not_sorted_into(run, photos, tmp_path, capsys):
  assert call("predict", f"--model={run}", f"--images={photos}", f"--out={tmp_path}", f"--sorted={photos}") == 1
  assert "is there already; name a new folder" in capsys.readouterr().err
  assert not (tmp_path / "predictions.csv").exists()


def test_features_come_with_paths(run, photos, tmp_path):
  out = tmp_path / "features.npz"
  assert call("predict", f"--model={run}", f"--images={photos}", f"--out={tmp_path}", f"--features_out={out}") == 0
  with np.load(out, allow_pickle=False) as saved:
    assert saved["features"].dtype == np.float32
    model = models.read(run / "models/best")
    np.testing.assert_array_equal(model.predictor.head.outputs(saved["features"]).argmax(1),
                                  sslx.predict(run, list(saved["paths"])).argmax(1))  # fmt: skip


def test_a_broken_file_is_one_line_or_a_list(run, photos, tmp_path, capsys):
  (photos / "a/0.png").write_bytes((photos / "a/0.png").read_bytes()[:60])
  given = ["predict", f"--model={run}", f"--images={photos}", f"--out={tmp_path / 'out'}"]
  assert call(*given) == 1
  (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
  assert "a/0.png" in line
  assert "--skip_broken" in line
  assert not (tmp_path / "out").exists()
  assert call(*given, "--skip_broken") == 0
  assert len(table(tmp_path / "out/predictions.csv")) == 11
  (broken,) = table(tmp_path / "out/predictions_broken.csv")
  assert broken["path"].endswith("a/0.png")
  assert "not a readable image" in broken["why"]
  os.remove(photos / "a/0.png")
  assert call(*given) == 0
  assert not (tmp_path / "out/predictions_broken.csv").exists()


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    ([], "--model: name a run directory"),
    (["--model=EMPTY"], "no model there; make one: python -m experiments.low_label --save=best"),
    (["--model=RUN/nothing"], "no such folder"),
    (["--model=RUN"], "--images: name files or a folder"),
    (["--model=RUN", "--images=EMPTY"], "holds no images"),
    (["--model=RUN", "--images=TEXT"], "not a readable image"),
    (["--model=RUN", "--images=EMPTY/none.png"], "no such file or folder"),
    (["--model=RUN", "--images=PHOTOS", "--top=0"], "--top=0: must be from 1 to 10"),
    (["--model=RUN", "--images=PHOTOS", "--out=TEXT"], "notes.txt is a file"),
    (["--model=RUN", "--images=PHOTOS", "--out=MINE.csv"], "is no table of predictions and stays"),
  ],
)
def test_bad_input_is_one_line(arguments, said, run, photos, tmp_path, capsys):
  (tmp_path / "empty").mkdir()
  (tmp_path / "mine.csv").write_text("a,b\n")
  places = {
    "EMPTY": tmp_path / "empty", "RUN": run, "TEXT": photos / "a/notes.txt", "PHOTOS": photos,
    "MINE.csv": tmp_path / "mine.csv",
  }  # fmt: skip
  for name, place in places.items():
    arguments = [argument.replace(name, str(place)) for argument in arguments]
  out = [] if any(a.startswith("--out") for a in arguments) else [f"--out={tmp_path / 'out'}"]
  assert call("predict", *arguments, *out) == 1
  (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
  assert said in line
  assert (tmp_path / "mine.csv").read_text() == "a,b\n"


def test_a_model_of_sound_says_so_of_images(photos, tmp_path, capsys):
  rng = np.random.default_rng(0)
  x, y = rng.integers(-9000, 9000, (24, 2000)).astype(np.int16), np.arange(24, dtype=np.int32) % 3
  data = sound_classes("sound", 8000, ("x", "y", "z"), Split(x, y), Split(x, y))
  models.write(fitted(data, spec="mel:rate=8000+conv:widths=4-6", labels=12), tmp_path / "model")
  assert call("predict", f"--model={tmp_path / 'model'}", f"--images={photos}", f"--out={tmp_path}") == 1
  assert "this model was made for sound" in capsys.readouterr().err
  import soundfile

  for i in range(3):
    soundfile.write(tmp_path / f"{i}.wav", x[i], 8000)
  sounds = ",".join(str(tmp_path / f"{i}.wav") for i in range(3))
  assert call("predict", f"--model={tmp_path / 'model'}", f"--images={sounds}", f"--out={tmp_path}") == 0
  p = sslx.predict(tmp_path / "model", x[:3])
  assert [row["class"] for row in table(tmp_path / "predictions.csv")] == ["xyz"[k] for k in p.argmax(1)]


# ---- other tasks -----------------------------------------------------------------------------------------------------


def images(task: str, toy: Dataset) -> Dataset:
  x, n = toy.train.x[:60], 60
  rng = np.random.default_rng(0)
  names = {"segmentation": ("background", "ink"), "detection": ("thing",)}.get(task, ("one", "two"))
  y = {
    "multilabel": rng.integers(0, 2, (n, 2)).astype(np.uint8),
    "regression": rng.normal(10, 3, (n, 2)).astype(np.float32),
    "segmentation": (x[..., 0] > 100).astype(np.uint8),
    "detection": np.tile(np.array([[[0, 2, 3, 8, 9]]], np.float32), (n, 1, 1)),
  }[task]
  return Dataset(task, MODALITIES["image"], TASKS[task](names), Split(x, y), Split(x[:5], y[:5]))


@pytest.mark.parametrize("task", ["multilabel", "regression", "segmentation", "detection"])
def test_every_task_has_a_table_and_a_page(task, toy, photos, tmp_path):
  model = fitted(images(task, toy))
  models.write(model, tmp_path / "model")
  out = tmp_path / "out"
  given = [f"--model={tmp_path / 'model'}", f"--images={photos}", f"--out={out}", "--threshold=0.01"]
  assert call("predict", *given) == 0
  rows = table(out / "predictions.csv")
  files = reading.files_of([photos], "image")
  answers = sslx.predict(model, files)
  assert list(dict.fromkeys(row["path"] for row in rows)) == files
  if task in ("multilabel", "regression"):
    told = [[float(row["one"]), float(row["two"])] for row in rows]
    np.testing.assert_allclose(told, answers, rtol=1e-4, atol=6e-5)
  if task == "segmentation":
    for row, mask in zip(rows, answers, strict=True):
      whole = np.asarray(Image.open(row["mask"]))
      assert whole.shape == np.asarray(Image.open(row["path"])).shape[:2]
      assert float(row["ink_share"]) == pytest.approx((mask == 1).mean(), abs=6e-5)
      if whole.shape == mask.shape:
        np.testing.assert_array_equal(whole, mask)
      else:
        assert 255 in whole  # what was cut off
  if task == "detection":
    counts = [sum(row["path"] == file and row["class"] != "" for row in rows) for file in files]
    assert counts == [int(((boxes[:, 0] >= 0) & (boxes[:, 5] >= 0.01)).sum()) for boxes in answers]
  page = Page((out / "predictions.html").read_text())
  assert page.tags.count("img") >= 1


@pytest.mark.parametrize(("height", "width"), [(12, 12), (24, 24), (24, 36), (50, 18), (12, 40)])
def test_boxes_lie_where_their_pixels_are(height, width, tmp_path):
  """A white patch is read as the model reads it, its edges there are found, and these are taken back."""
  picture = np.zeros((height, width, 3), np.uint8)
  side = min(height, width)  # of the square that is seen
  top, left = height // 2 - side // 6, width // 2 - side // 8
  bottom, right = height // 2 + side // 4, width // 2 + side // 5
  picture[top:bottom, left:right] = 255
  path = str(tmp_path / "patch.png")
  Image.fromarray(picture).save(path)
  shape = (48, 48, 1)
  seen = np.asarray(reading.read([path], "image", shape).x)[0, ..., 0] > 127
  rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
  box = np.array([[rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]], float)
  placed = predictions.in_file(box, path, shape)[0]
  np.testing.assert_allclose(placed, (top, left, bottom, right), atol=max(1.0, min(height, width) / 48))


def test_many_files_of_one_name_get_names_of_their_own():
  assert predictions.names_in(["a/x.jpg", "b/x.jpg", "b/X.jpg", "c/x-2.jpg"]) == [
    "x.jpg", "x-2.jpg", "X-3.jpg", "x-2-2.jpg",
  ]  # fmt: skip
  assert predictions.folder_of("../a/b") == "_a_b"
  assert predictions.folder_of("..") == "_"


def test_how_pictures_were_read_is_kept(toy, tmp_path):
  """What is transparent shows the colour that the training images had behind them."""
  model = fitted(toy)
  black = model._replace(about={"reading": {"background": [0, 0, 0], "bits": 16}})
  path = tmp_path / "clear.png"
  Image.new("LA", (12, 12), (200, 0)).save(path)
  nothing, white = np.zeros((1, *toy.x_shape), np.uint8), np.full((1, *toy.x_shape), 255, np.uint8)
  np.testing.assert_array_equal(sslx.predict(black, str(path)), sslx.predict(model, nothing))
  np.testing.assert_array_equal(sslx.predict(model, str(path)), sslx.predict(model, white))


def test_an_interrupted_run_leaves_no_half_table(run, photos, tmp_path, monkeypatch):
  from sslx.report import contact

  def stop(*_, **__):
    raise KeyboardInterrupt

  monkeypatch.setattr(contact, "write_contact", stop)
  from experiments.shared import interrupt

  monkeypatch.setattr(interrupt, "leave", lambda: 130)
  assert call("predict", f"--model={run}", f"--images={photos}", f"--out={tmp_path / 'out'}") == 130
  assert not list(tmp_path.glob("out/*"))
