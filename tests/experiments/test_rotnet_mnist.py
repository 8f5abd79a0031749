"""experiments.rotnet_mnist: the notebook's images, errors and sizes; its rows and
report; what each condition changes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import call, directory, rows_of

from experiments import readme_table
from experiments.rotnet_mnist import notebook, sections
from experiments.shared import runs, table
from sslx import nn, report
from sslx.data import Split
from sslx.data.types import image_classes
from sslx.pretext.rotation import rotation
from sslx.report import pages_of_docs
from sslx.types import UserError

TINY = ["--finetune_learning_rates=1e-3", "--modes=frozen", "--sections=letter,tuned", "--seeds=2"]


def row(mode: str, subset: int, accuracy: float) -> dict:
  return {"method": "m", "dataset": "d", "encoder": "e", "mode": mode, "labels": 600, "subset_seed": subset,
          "test_accuracy": accuracy}  # fmt: skip


def test_parameter_tables_are_the_published_ones():
  images = Split(np.zeros((10, 28, 28, 1), np.uint8), np.arange(10, dtype=np.int32))
  assert notebook.parameters(image_classes("d", tuple("0123456789"), images, images)) == notebook.PARAMETERS
  assert notebook.PARAMETERS["encoder and head for rotations"] == 19_104 + 4_884


def test_the_notebooks_images():
  n = 12_000
  images = np.arange(n, dtype=np.int64).view(np.uint8).reshape(n, 2, 4, 1)  # each carries its number
  labels = (np.arange(n) % 10).astype(np.int32)
  data = image_classes("d", tuple("0123456789"), Split(images, labels), Split(images[:700], labels[:700]))
  parts = notebook.portions(data)
  np.testing.assert_array_equal(parts.unlabelled.train.x, images[:10_000])
  np.testing.assert_array_equal(parts.rest.train.x[: parts.labelled], images[10_000:11_000])
  np.testing.assert_array_equal(parts.rest.train.y, labels[10_000:])
  assert (parts.labelled, parts.tested) == (1000, 300)
  assert len(parts.rest.test) == 700
  small = image_classes("d", data.task.names, Split(images[:150], labels[:150]), data.test)
  with pytest.raises(UserError, match="150 training images are too few"):
    notebook.portions(small)


def test_late_labels_are_those_of_the_row_before():
  plain = rotation(nn.build("rotnet"))
  image = jnp.asarray(np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32))
  key = jax.random.key(0)
  view, late = (p.transform(key, {"x": image}) for p in (plain, notebook.late("rotnet")))
  np.testing.assert_array_equal(view["x"], late["x"])
  np.testing.assert_array_equal(late["label"], np.roll(view["label"], 1))
  np.testing.assert_array_equal(late["label"], (np.asarray(view["label"]) - 1) % 4)  # so a renaming of the classes
  np.testing.assert_array_equal(np.roll(view["label"], 4), view["label"])  # and a whole image apart is nothing


def test_pixels_that_are_not_scaled():
  image = np.random.default_rng(0).random((2, 8, 8, 1)).astype(np.float32)
  plain, raw = nn.build("rotnet"), nn.build(notebook.RAW_PIXELS)
  params, stats = nn.init(plain, jax.random.key(0), image)
  wanted, made = nn.apply(plain, params, stats, 255 * image)[0], nn.apply(raw, params, stats, image)[0]
  for name in plain.block_names:
    np.testing.assert_allclose(made[name], wanted[name], rtol=1e-5)
  with pytest.raises(UserError, match="scale must be positive"):
    nn.build("rotnet:scale=0")


def test_letter_sentences():
  published, again, ours = sections.letter_sentences(
    [row("frozen", s, 0.9 + 0.001 * s) for s in range(3)] + [row("scratch", s, 0.8) for s in range(3)], 500
  )
  assert "frozen 81.0 [76.2, 85.0], scratch 78.7 [73.7, 82.9]: so few images cannot tell them apart" in published
  mean = np.mean([85.4 - 88.0, 91.3 - 87.7, 87.8 - 88.0])
  assert f"over 3 seeds: frozen over scratch {mean:+.1f} points" in again
  assert again.endswith("within the noise.")
  assert ours.startswith("Ours, on all 500 test images, over 3 seeds: frozen over scratch +10.1 points")
  assert ours.endswith("better.")


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory):
  """The experiment, once: (--out, its arguments)."""
  out = tmp_path_factory.mktemp("runs")
  arguments = [f"--dataset={toy_npz}", f"--out={out}", "--smoke", *TINY]
  assert call("rotnet_mnist", *arguments) == 0
  return out, arguments


def test_rotnet_rows_are_the_notebooks(finished):
  rows = rows_of(directory(finished[0], "rotnet_mnist"))
  letter = [r for r in rows if "test_sets" in r]
  assert [(r["mode"], r["seed"], r["labels"]) for r in letter] == [
    (mode, seed, 21) for mode in notebook.LETTER_MODES for seed in (0, 1)
  ]  # 240 images: 210 and 21
  for entry in letter:
    assert entry["encoder"] == "rotnet:scale=255"
    made = entry["pretraining"]
    assert (made["variant"], made["shuffle"], made["schedule"], made["examples"]) == (
      "one row late", False, "constant", 210
    )  # fmt: skip
    assert (made["batch_size"], made["epochs"], made["weight_decay"], made["watch"]) == (48, 50, 0, 0)
    assert entry["settings"]["optimizer"] == "sgd"
    assert entry["test_sets"]["of"] == 45
    right = entry["test_sets"]["first"] + entry["test_sets"]["second"]
    assert right == round(90 * entry["test_accuracy"])  # the two sets are all of the test images here
  tuned = [r for r in rows if "test_sets" not in r]
  assert {(r["mode"], r["features"]) for r in tuned} == {
    *((mode, "block2:flatten") for mode in ("raw", "random", "frozen", "scratch")),
    *((mode, "block1:flatten") for mode in ("random", "frozen")),
  }
  assert {r["encoder"] for r in tuned} == {"rotnet"}
  assert all(r["seed"] == r["subset_seed"] for r in rows)


def test_rotnet_reports(finished):
  run = directory(finished[0], "rotnet_mnist")
  page = (run / "report.html").read_text()
  for text in ("23,988", "21,994", "2,890", "19,104", "To the letter", "frozen, first 45", "Both sides tuned alike",
               "tuned, block1", "cannot tell them apart", "The notebook run again"):  # fmt: skip
    assert text in page, text
  first = next(r for r in rows_of(run) if "test_sets" in r and (r["mode"], r["seed"]) == ("frozen", 0))
  low, high = report.binomial_interval(first["test_sets"]["first"], 45)
  cell = f"{100 * first['test_sets']['first'] / 45:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
  tables = (run / "tables.md").read_text()
  assert cell in tables
  assert re.search(r"- Both sides tuned alike, [\d,]+ labels: \S+ is the best, ", tables)


def test_one_error_at_a_time(toy_npz, tmp_path, monkeypatch):
  """What is pretrained and trained under each condition, without doing it: nothing but the one error differs."""
  asked = []

  def run_pairs(of_seed, labelled, modes, timings, more):
    rows = []
    for seed in labelled.subsets:
      line, bench = of_seed(seed)
      config, late = line.pretraining, bench.pretrained.params["late"]
      asked.append((line.encoder, config["variant"], config["shuffle"], bench.recipe.shuffle, late, *modes))
      shared = {"dataset": "d", "labels": 21, "settings": {}, "parameters_total": 1, "device": "", "seed": seed}
      offset = 0.1 * (modes[0] == "frozen" and late) + 0.01 * seed
      rows += [{**line.names, **shared, "mode": m, "subset_seed": seed, "test_accuracy": 0.5 + offset} for m in modes]
    return table.Measured(rows, {})

  def pretrain(job):
    view = job.plan.pretext.transform(jax.random.key(0), {"x": jnp.zeros((1, 4, 4, 1))})
    late = list(view["label"]) != [0, 1, 2, 3]
    encoder = job.plan.meta.build_encoder()
    return nn.Representation(encoder, "flatten", {"late": late}, {}, job.plan.modality.prepare), 0.0

  monkeypatch.setattr(table, "run_pairs", run_pairs)
  monkeypatch.setattr(runs, "pretrain", pretrain)
  given = [f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke", "--sections=errors", "--seeds=2"]
  assert call("rotnet_mnist", *given) == 0
  modes = notebook.LETTER_MODES
  assert list(dict.fromkeys(asked)) == [
    *(("rotnet", None, True, True, False, mode) for mode in modes),
    ("rotnet", "one row late", True, True, True, "frozen"),
    *(("rotnet", None, False, False, False, mode) for mode in modes),
    *(("rotnet:scale=255", None, True, True, False, mode) for mode in modes),
    *(("rotnet:scale=255", "one row late", False, False, True, mode) for mode in modes),
  ]
  tables = (directory(tmp_path, "rotnet_mnist") / "tables.md").read_text()
  lines = [
    [cell.strip() for cell in line.split("|")] for line in tables.splitlines() if line[:1] == "|" and "±" in line
  ]
  differences = {(line[1], line[3]): line[5] for line in lines}
  assert differences["frozen", "labels late"] == differences["frozen", "as published"] == "+10.0 [+10.0, +10.0]"
  assert (
    differences["scratch", "labels late"]
    == differences["frozen", "in order"]
    == differences["frozen", "0..255"]
    == "+0.0 [+0.0, +0.0]"
  )
  assert differences["frozen", "without errors"] == ""
  said = "all errors together, frozen: +10.0 points [+10.0, +10.0]: "
  assert f"{said}too few seeds for a claim." in tables  # of two
  assert "scratch, labels late" not in tables


def test_the_same_command_again_trains_nothing(finished, capfd):
  out, arguments = finished
  path = directory(out, "rotnet_mnist") / "results.jsonl"
  before = path.read_text()
  capfd.readouterr()
  assert call("rotnet_mnist", *arguments) == 0
  assert path.read_text() == before
  assert not re.search("subset|0 s left", capfd.readouterr().err)


BAD = [
  (["--sections=leter"], r"--sections=leter: choose among letter, errors, tuned"),
  (["--method=denoise"], r"--method=denoise: this protocol is that of rotation"),
  (["--encoder=conv"], r"--encoder=conv: this protocol is that of rotnet"),
  (["--labels=100"], r"--labels: .*only"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line(arguments, message, toy_npz, tmp_path, capsys):
  assert call("rotnet_mnist", f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke", *arguments) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert re.search(message, line), line
  assert not list(tmp_path.glob("*/checkpoints"))


def test_help(capsys):
  assert call("rotnet_mnist", "--help=all") == 0
  text = capsys.readouterr().out
  for part in ("./launch.sh rotnet_mnist", "Published", "--flagfile", "--labels"):
    assert part in text


def test_the_overview_has_the_published_figures(finished):
  run = directory(finished[0], "rotnet_mnist")
  lines = pages_of_docs.overview([run], readme_table.published()).splitlines()
  cells = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
  shown = {tuple(line[:3]): line[3:] for line in cells}
  labels = f"{rows_of(run)[0]['labels']:,}"
  assert shown["rotnet_mnist", "published, one run", labels][:3] == ["78.67", "81.00", "+2.33"]
  assert ("rotnet_mnist", "labels late", labels) not in shown
