"""experiments.label_next: what it chooses and writes, that labels.csv of its page is read back, and what it refuses."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import BROWSER, call, seen_by_browser
from PIL import Image

import sslx
from sslx import models
from sslx.evaluation import selection

browser = pytest.mark.skipif(BROWSER is None, reason="no browser")
COLOURS = {"blue": (20, 30, 220), "green": (30, 200, 40), "red": (220, 30, 20)}
HIDDEN = 24


def save(path: Path, colour, rng) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = rng.integers(-25, 26, (12, 12, 3))
  Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
  """Squares of three colours: eight labelled ones of each, and HIDDEN without labels, whose names tell the truth."""
  root, rng = tmp_path_factory.mktemp("photos") / "set, one", np.random.default_rng(0)
  for name, colour in COLOURS.items():
    for number in range(8):
      save(root / "train" / name / f"{number}.png", colour, rng)
  for number, name in zip(range(HIDDEN), [*COLOURS] * HIDDEN, strict=False):
    save(root / "unlabeled" / f"{number}, {name}.png", COLOURS[name], rng)
  return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory) -> Path:
  """A run directory of a pretraining with a model in it."""
  data = sslx.load_data(f"folder:{photos}", image_size=8)
  made = sslx.pretrain("autoencode", data, encoder="mlp:code=8", steps=2, batch_size=8)
  directory = sslx.save(made, tmp_path_factory.mktemp("runs") / "one")
  models.write(sslx.fit(made, data, labels=24), directory / "models" / "best")
  return directory


@pytest.fixture
def flags(photos, run) -> list[str]:
  return [f"--model={run}", f"--dataset=folder:{photos}", "--seed=0"]


def table(path: Path) -> list[dict]:
  with path.open(newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def model_of(page: Path) -> dict:
  return json.loads(page.read_text().split('id="model">')[1].split("</script>")[0])


def truth(path: str) -> str:
  return path.rpartition(", ")[2].removesuffix(".png")


def test_the_table_and_the_page_show_the_same(flags, run, tmp_path):
  assert call("label_next", *flags, "--count=7", f"--out={tmp_path}") == 0
  rows, page = table(tmp_path / "label_next.csv"), model_of(tmp_path / "labels.html")
  assert [row["rank"] for row in rows] == [str(k) for k in range(1, 8)]
  assert len({row["path"] for row in rows}) == 7
  assert all(row["path"].startswith("unlabeled/") and row["strategy"] == "typical" for row in rows)
  assert [item["path"] for item in page["items"]] == [row["path"] for row in rows]
  assert page["classes"] == ["blue", "green", "red"]
  for row, item in zip(rows, page["items"], strict=True):
    assert item["suggested"] == row["suggested"]
    assert item["confidence"] == pytest.approx(float(row["confidence"]), abs=1e-4)
    assert item["picture"].startswith("data:image/png;base64,")
    assert not item["given"]


def test_what_is_suggested_is_what_the_model_predicts(flags, photos, run, tmp_path):
  assert call("label_next", *flags, "--count=24", f"--out={tmp_path}", "--strategy=margin") == 0
  rows = table(tmp_path / "label_next.csv")
  data, fitted = sslx.load_data(f"folder:{photos}", image_size=8), models.read(models.find(run))
  p = sslx.predict(fitted, data.unlabeled.x)
  files = [f"unlabeled/{Path(file).name}" for file in data.unlabeled.files]
  assert [row["path"] for row in rows] == [files[k] for k in selection.margin(p, 24).rows]
  for row in rows:
    likely = p[files.index(row["path"])]
    assert (row["suggested"], float(row["confidence"])) == (
      data.task.names[likely.argmax()],
      pytest.approx(likely.max(), abs=1e-4),
    )


def test_auto_is_margin_where_there_are_many_labels(flags, tmp_path, monkeypatch):
  monkeypatch.setattr(selection, "FEW", 8)
  assert call("label_next", *flags, f"--out={tmp_path}", "--count=3") == 0
  assert {row["strategy"] for row in table(tmp_path / "label_next.csv")} == {"margin"}


@pytest.mark.parametrize("what", ["model", "encoder"])
def test_the_data_are_those_of_the_run(run, photos, tmp_path, what):
  """Without --dataset, whatever its pictures were resized to; the table lies beside the run."""
  leave = shutil.ignore_patterns("models") if what == "encoder" else None
  shutil.copytree(run, tmp_path / "run", ignore=leave)
  assert call("label_next", f"--model={tmp_path / 'run'}", "--count=24") == 0
  rows = table(tmp_path / "run" / "label_next.csv")
  assert {row["path"] for row in rows} == {f"unlabeled/{path.name}" for path in (photos / "unlabeled").iterdir()}
  assert all(bool(row["suggested"]) == (what == "model") for row in rows)


@pytest.mark.parametrize("strategy", ["typical", "coreset", "random"])
def test_an_encoder_alone_chooses_too(flags, run, tmp_path, strategy):
  shutil.copytree(run, tmp_path / "encoder", ignore=shutil.ignore_patterns("models"))
  flags = [f"--model={tmp_path / 'encoder'}", *flags[1:]]
  for _ in range(2):  # beside it, where nothing else is said; the same again
    assert call("label_next", *flags, f"--strategy={strategy}") == 0
    rows = table(tmp_path / "encoder" / "label_next.csv")
    assert len({row["path"] for row in rows}) == HIDDEN  # no more than there are
    assert {row["suggested"] for row in rows} == {""}
    (tmp_path / "encoder" / "label_next.csv").rename(tmp_path / "before.csv")
    assert table(tmp_path / "before.csv") == rows


def test_margin_needs_a_classifier(flags, run, tmp_path, capsys):
  shutil.copytree(run, tmp_path / "encoder", ignore=shutil.ignore_patterns("models"))
  assert call("label_next", f"--model={tmp_path / 'encoder'}", *flags[1:], "--strategy=margin") != 0
  assert "error: --strategy=margin: is for a model with a classifier" in capsys.readouterr().err


def test_without_unlabeled_files_it_takes_what_the_model_was_not_trained_on(photos, run, tmp_path):
  data = sslx.load_data(f"folder:{photos}", image_size=8)
  fitted = sslx.fit(sslx.load(run), data, labels=6)
  root = tmp_path / "photos"
  shutil.copytree(photos / "train", root / "train")
  models.write(fitted, tmp_path / "model")
  flags = [f"--model={tmp_path / 'model'}", f"--dataset=folder:{root}", "--strategy=random"]
  assert call("label_next", *flags, "--count=18") == 0
  chosen = {row["path"] for row in table(tmp_path / "model" / "label_next.csv")}
  known = {str(Path(data.train.files[row]).relative_to(photos)) for row in fitted.rows}
  everything = {str(Path(file).relative_to(photos)) for file in data.train.files}
  assert chosen == everything - known


@pytest.mark.parametrize(
  ("wrong", "why"),
  [
    (["--count=0"], "--count=0: must be positive"),
    (["--count=99"], f"--count=99: there are {HIDDEN} examples without a label"),
    (["--model=/no/such"], "/no/such: no such folder"),
    (["--model="], "--model: name a run directory"),
    (["--dataset=mnist"], "--dataset=mnist: its examples are not as those that the model was trained on"),
    (["--image_size=9"], "give the flags that these were read with, such as --image_size"),
  ],
)
def test_refusals(flags, wrong, why, capsys):
  assert call("label_next", *flags, *wrong) != 0
  last = capsys.readouterr().err.strip().splitlines()[-1]
  assert last.startswith("error: ")
  assert why in last


# ---- labels.csv ------------------------------------------------------------------------------------------------------

LABEL = """
const key = (name) => document.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const model = JSON.parse(document.getElementById("model").textContent);
const names = ["blue", "green", "red"];
"""
LEAVE = 'document.body.dataset.seen = JSON.stringify(document.getElementById("csv").textContent);'


def labelled_by_browser(page: Path, script: str, profile: Path) -> str:
  text = seen_by_browser(page, "{" + LABEL + script + LEAVE + "}", profile)
  assert isinstance(text, str)
  return text


TRUE = """
for (const item of model.items) {
  const answer = names.indexOf(item.path.split(", ").at(-1).replace(".png", ""));
  key(String(answer + 1));
}
"""


@browser
def test_labels_of_the_page_are_read_back_and_go_on(flags, photos, tmp_path):
  """Two rounds: the second knows the labels of the first, and saves all of them."""
  labels, seen = tmp_path / "labels.csv", set()
  for number in (1, 2):
    more = [f"--labels_file={labels}"] if number > 1 else []
    assert call("label_next", *flags, "--count=9", f"--out={tmp_path}", *more) == 0
    chosen = {row["path"] for row in table(tmp_path / "label_next.csv")}
    assert not chosen & seen
    seen |= chosen
    labels.write_text(labelled_by_browser(tmp_path / "labels.html", TRUE, tmp_path / f"p{number}"), encoding="utf-8")
    assert {row["path"] for row in table(labels)} == seen
    data = sslx.load_data(f"folder:{photos}", image_size=8, labels_file=labels)
    assert len(data.train) == 24 + 9 * number
    assert len(data.unlabeled) == HIDDEN - 9 * number
    for file, y in zip(data.train.files, data.train.y, strict=True):
      path = Path(file).relative_to(photos)
      assert data.task.names[y] == (path.parts[1] if path.parts[0] == "train" else truth(path.name))


# ---- suspects --------------------------------------------------------------------------------------------------------


@pytest.fixture
def spoilt(photos, tmp_path) -> Path:
  """The same files, but for two reds in the folder of blue ones."""
  root = tmp_path / "spoilt"
  shutil.copytree(photos, root)
  for number in (0, 1):
    (root / "train" / "red" / f"{number}.png").rename(root / "train" / "blue" / f"wrong {number}.png")
  return root


def test_suspects_are_those_that_are_wrong(spoilt, run, tmp_path):
  assert call("label_next", f"--model={run}", f"--dataset=folder:{spoilt}", "--suspects", f"--out={tmp_path}") == 0
  rows, page = table(tmp_path / "suspects.csv"), model_of(tmp_path / "suspects.html")
  assert {row["path"] for row in rows[:2]} == {f"train/blue/wrong {number}.png" for number in (0, 1)}
  assert [(row["class"], row["likely"]) for row in rows[:2]] == [("blue", "red")] * 2
  for row, item in zip(rows, page["items"], strict=True):
    assert (item["path"], item["given"], item["suggested"]) == (row["path"], row["class"], row["likely"])


@browser
def test_a_corrected_label_overrides(spoilt, run, tmp_path):
  flags = [f"--model={run}", f"--dataset=folder:{spoilt}", "--suspects", f"--out={tmp_path}", "--count=2"]
  assert call("label_next", *flags) == 0
  text = labelled_by_browser(tmp_path / "suspects.html", 'key("3"); key("3");', tmp_path / "p")
  (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
  data = sslx.load_data(f"folder:{spoilt}", image_size=8, labels_file=tmp_path / "labels.csv")
  by_file = {Path(file).name: data.task.names[y] for file, y in zip(data.train.files, data.train.y, strict=True)}
  assert (by_file["wrong 0.png"], by_file["wrong 1.png"]) == ("red", "red")
  assert call("label_next", *flags, f"--labels_file={tmp_path / 'labels.csv'}") == 0
  assert not {row["path"] for row in table(tmp_path / "suspects.csv")} & {f"train/blue/wrong {k}.png" for k in (0, 1)}


def test_a_network_that_saw_the_labels_is_no_judge(photos, run, tmp_path, capsys):
  """But in a run directory, the pretraining is."""
  data = sslx.load_data(f"folder:{photos}", image_size=8)
  fitted = sslx.fit(sslx.load(run), data, labels=24)._replace(mode="full")
  shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("models"))
  for place in (tmp_path / "run" / "models" / "best", tmp_path / "model"):
    models.write(fitted, place)
  assert call("label_next", f"--model={tmp_path / 'model'}", f"--dataset=folder:{photos}", "--suspects") != 0
  assert "was trained on these labels itself" in capsys.readouterr().err
  assert call("label_next", f"--model={tmp_path / 'run'}", f"--dataset=folder:{photos}", "--suspects") == 0
  assert (tmp_path / "run" / "suspects.csv").exists()


# ---- sound and text --------------------------------------------------------------------------------------------------


def test_recordings_are_heard(tmp_path):
  data = sslx.load_data("spoken_digits")
  run = sslx.pretrain("apc", data, encoder="mel:bands=8+gru:width=8,context=8", steps=1, batch_size=4)
  directory = sslx.save(run, tmp_path / "run")
  assert call("label_next", f"--model={directory}", "--count=2", "--strategy=random", "--smoke") == 0
  items = model_of(directory / "labels.html")["items"]
  assert all(item["sound"].startswith("data:audio/flac;base64,") and item["picture"] for item in items)
  assert len({item["sound"] for item in items}) == 2


def test_texts_are_read(tmp_path):
  root, words = tmp_path / "texts", {"sea": "wave salt tide", "wood": "leaf bark root"}
  for number in range(6):
    for part in ("train/sea", "train/wood", "unlabeled"):
      (root / part).mkdir(parents=True, exist_ok=True)
      name = part.partition("/")[2] or ("sea", "wood")[number % 2]
      text = f"Number {number}: {words[name]} and <so> on.\n\n{words[name]}."
      (root / part / f"{number} {name}.txt").write_text(text)
  data = sslx.load_data(f"text:{root}", min_count=1)
  directory = sslx.save(sslx.pretrain("cbow", data, steps=1, batch_size=4), tmp_path / "run")
  models.write(sslx.fit(sslx.load(directory), data, labels=12), directory / "models" / "best")
  assert call("label_next", f"--model={directory}", f"--dataset=text:{root}", "--min_count=1", "--count=3") == 0
  items = model_of(directory / "labels.html")["items"]
  assert len(items) == 3
  assert all(item["text"] == (root / item["path"]).read_text() and not item["picture"] for item in items)
