"""experiments.linear_eval, label_curve and transfer: rows, resumption, pages, checkpoints, bad input."""

import json
import re

import numpy as np
import pytest
from helpers import call, directory, hidden_test_split, rows_of, tasks_of
from PIL import Image

from experiments import readme_table
from sslx.report import pages_of_docs

TINY = ["--encoder=conv:widths=4-6", "--seeds=2", "--smoke"]


@pytest.fixture(scope="module")
def finished(toy_npz, other_npz, tmp_path_factory):
  """All three experiments, once: (--out, their arguments, what was tested on how many examples)."""
  out = tmp_path_factory.mktemp("runs")
  given = [f"--dataset={toy_npz}", f"--out={out}", *TINY]
  arguments = {
    "linear_eval": [*given, "--labels=10%,all"],
    "label_curve": [*given, "--labels=6,24,10%,all", "--at=24"],
    "transfer": [*given, "--labels=12", "--oracle", f"--targets={other_npz},{toy_npz}"],
  }
  with hidden_test_split() as tested:
    for name, flags in arguments.items():
      assert call(name, *flags) == 0
  return out, arguments, tested


def test_linear_eval_probes_all_labels_and_fine_tunes_on_few(finished):
  rows = rows_of(directory(finished[0], "linear_eval"))
  assert tasks_of(rows) == [
    *(("none", mode, 24, s) for mode in ("raw", "random", "scratch") for s in (0, 1)),
    *(("none", mode, 240, 0) for mode in ("raw", "random")),
    *(("denoise", mode, 24, s) for mode in ("frozen", "full") for s in (0, 1)),
    *(("denoise", mode, 240, 0) for mode in ("frozen", "knn:20", "knn:200")),
  ]
  temperatures = {r["mode"]: (r["chosen"]["k"], r["chosen"]["temperature"]) for r in rows if r["mode"][:3] == "knn"}
  assert temperatures == {"knn:20": (20, 0.07), "knn:200": (200, 0.1)}


def test_transfer_rows_tell_where_they_come_from(finished, toy_npz, other_npz):
  rows = rows_of(directory(finished[0], "transfer"))
  assert [r["dataset"] for r in rows] == [other_npz] * (len(rows) // 2) + [toy_npz] * (len(rows) // 2)
  assert tasks_of(rows) == 2 * [
    *(("none", mode, 12, s) for mode in ("raw", "random", "scratch") for s in (0, 1)),
    *((m, mode, 12, s) for m in ("denoise", "supervised", "denoise on the target") for mode in ("frozen", "full")
      for s in (0, 1)),
  ]  # fmt: skip
  sources = {(r["method"], r["pretraining"]["method"], r["pretraining"]["dataset"]) for r in rows if r["pretraining"]}
  assert sources == {
    ("denoise", "denoise", toy_npz), ("supervised", "supervised", toy_npz),
    ("denoise on the target", "denoise", other_npz), ("denoise on the target", "denoise", toy_npz),
  }  # fmt: skip
  shown = [r["pretraining"]["steps"] * r["pretraining"]["batch_size"] for r in rows if r["pretraining"]]
  assert max(shown) <= 1.01 * min(shown)  # as many images for the supervised control, in larger batches
  assert {r["encoder"] for r in rows} == {"conv:widths=4-6"}
  assert len({r["parameters_total"] for r in rows if r["mode"] != "raw"}) == 1


def test_test_images_are_read_once_and_after_training(finished):
  """Training got no test split at all (see `finished`), and each classifier was tested once."""
  out, arguments, tested = finished
  rows = sum(len(rows_of(directory(out, name))) for name in arguments)
  assert len(tested) == rows
  assert {n for *_, n in tested} == {90}


@pytest.mark.parametrize("name", ["linear_eval", "label_curve", "transfer"])
def test_the_same_command_again_trains_nothing(finished, name, capfd):
  out, arguments, _ = finished
  before = (directory(out, name) / "results.jsonl").read_bytes()
  assert call(name, *arguments[name]) == 0
  assert (directory(out, name) / "results.jsonl").read_bytes() == before
  assert not re.search("subset|pretraining denoise", capfd.readouterr().err)


def test_pages_tables_and_figures(finished):
  out, arguments, _ = finished
  wanted = {
    "linear_eval": ("24 labels (10%)", "240 labels (100%)", "knn:200"),
    "label_curve": (
      "Labels that training from scratch needs",
      "Accuracy against number of labels",
      "% with 24 labels; scratch ",
    ),
    "transfer": ("Transfer, 12 labels", "other frozen", "toy full", "supervised", "denoise on the target"),
  }
  drawn = {
    "linear_eval": ("methods.png", "labels.png"),
    "label_curve": ("labels.png",),
    "transfer": ("methods.png",),
  }
  for name in arguments:
    run = directory(out, name)
    pictures = {p.name for p in (run / "figures").iterdir()}
    assert pictures - {"calibration.png"} == set(drawn[name]), name  # that of a model that could be calibrated
    for path in (run / "figures").iterdir():
      with Image.open(path) as picture:
        assert min(picture.size) > 200
    page, tables = (run / "report.html").read_text(), (run / "tables.md").read_text()
    own = {"methods.png", "accuracy.png"} & pictures  # dots that the page draws by itself
    assert page.count("data:image/png") >= len(pictures - own)
    assert 'class="dots"' in page
    assert "`" not in page  # of Markdown
    for text in wanted[name]:
      assert text in page, (name, text)
    assert tables.count("\n\n|") >= 2
    mode = "full" if name == "transfer" else "frozen"
    first = rows_of(run)[0]["dataset"]
    rows = [r for r in rows_of(run) if r["labels"] in (12, 24) and r["dataset"] == first]
    mean = np.mean([r["test_accuracy"] for r in rows if (r["method"], r["mode"]) == ("denoise", mode)])
    assert any(f"{100 * mean:.1f} ±" in line for line in tables.splitlines() if line.startswith("| denoise "))


def test_tables_go_into_a_page(finished, tmp_path, monkeypatch):
  out, arguments, _ = finished
  monkeypatch.setattr(readme_table, "ROOT", tmp_path)
  (tmp_path / "page.md").write_text(f"# Protocols\n{pages_of_docs.BEGIN}\nold\n{pages_of_docs.END}\nend\n")
  readme_table.main([directory(out, name) for name in arguments], "page.md")
  page = (tmp_path / "page.md").read_text()
  assert "\nold\n" not in page
  assert page.endswith("end\n")
  assert re.search(r"### from npz:\S*toy.npz to npz:\S*other.npz, npz:\S*toy.npz, --encoder=conv:widths=4-6", page)
  for name in arguments:
    assert f"`python -m experiments.{name} " in page


def test_a_checkpoint_stands_for_the_flags_that_made_it(finished, toy_npz, tmp_path, capsys):
  out = finished[0]
  (made,) = [
    run for run in out.iterdir()
    if run.name.startswith("denoise-") and json.loads((run / "config.json").read_text())["dataset"] == toy_npz
  ]  # fmt: skip
  given = [f"--checkpoint={made}", f"--out={tmp_path}", "--seeds=2", "--smoke"]
  assert call("linear_eval", *given, "--labels=10%", "--modes=frozen") == 0
  mine = {
    r["subset_seed"]: r["test_accuracy"] for r in rows_of(directory(tmp_path, "linear_eval")) if r["mode"] == "frozen"
  }
  theirs = {
    r["subset_seed"]: r["test_accuracy"]
    for r in rows_of(directory(out, "linear_eval"))
    if (r["mode"], r["labels"]) == ("frozen", 24)
  }
  assert mine == theirs
  command = rows_of(directory(tmp_path, "linear_eval"))[-1]["command"].split()[3:]
  capsys.readouterr()
  assert call("linear_eval", *command) == 0  # it repeats the run, and trains nothing
  assert "subset" not in capsys.readouterr().err
  for flag, message in {
    "--method=simclr": "made with denoise",
    "--hp=level=0.9": "--hp",
    "--encoder=mlp": "made with conv:widths=4-6",
    "--methods=denoise": "either --checkpoint or --methods",
  }.items():
    assert call("linear_eval", *given, flag) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line, line
  assert call("transfer", *given, f"--targets={toy_npz}", "--dataset=mnist") == 1
  assert "--dataset=mnist: the checkpoint was made with npz:" in capsys.readouterr().err


BAD = [
  ("linear_eval", ["--labels=ten%"], r"--labels=ten%: 'ten%' is neither a number of labels, a percentage such as 10%"),
  ("linear_eval", ["--labels=0%"], r"--labels=0%: "),
  ("linear_eval", ["--labels=101%"], r"--labels=101%: "),
  ("linear_eval", ["--labels=0.1%"], r"--labels: .*0 labels"),
  ("linear_eval", ["--labels=50%", "--modes=knn:121"], r"--modes=knn:121: k must be between 1 .*\(120\)"),
  ("label_curve", ["--labels=6,12", "--modes=knn:7"], r"--modes=knn:7: k must be between 1 .*\(6\)"),
  ("compare", ["--labels=6,12", "--methods=denoise", "--modes=knn:7"], r"--modes=knn:7: k must be between 1 .*\(6\)"),
  ("freezing", ["--labels=6", "--methods=denoise", "--modes=knn:7"], r"--modes=knn:7: k must be between 1 .*\(6\)"),
  ("one_percent", ["--labels=6", "--modes=knn:7"], r"--modes=knn:7: k must be between 1 .*\(6\)"),
  ("transfer", ["--labels=6", "--modes=knn:7", "--targets=COLOUR", "--match_channels"], r"--modes=knn:7: k must"),
  ("linear_eval", ["--modes=frozne"], r"Did you mean 'frozen'"),
  ("linear_eval", ["--finetune_epochs=0"], r"--finetune_epochs=0.*positive"),
  ("linear_eval", ["--checkpoint=/nowhere"], r"--checkpoint=/nowhere: no such folder"),
  ("label_curve", ["--methods="], r"--methods=: name at least one"),
  ("label_curve", ["--methods=denoise,simclr", "--hp=level=0.5"], r"--hp: belongs to one method"),
  ("label_curve", ["--labels=6,12", "--at=7"], r"--at=7: name one of --labels: 6, 12"),
  ("transfer", [], r"--targets is missing"),
  ("transfer", ["--targets=mnst"], r"mnst"),
  ("transfer", ["--targets=WIDE", "--encoder=mlp"], r"WIDE.npz: .*12x20, --encoder=mlp was made for 12x12"),
  ("transfer", ["--targets=COLOUR"], r"in colour, the source's grey; --match_channels"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), BAD, ids=[" ".join([n, *a]) for n, a, _ in BAD])
def test_bad_input_is_one_line(name, arguments, message, toy, toy_npz, tmp_path, capsys):
  for target, repeat, axis in (("COLOUR", 3, 3), ("WIDE", 2, 2)):
    if f"--targets={target}" in arguments:
      arrays = {f"{s}_images": np.repeat(getattr(toy, s).x, repeat, axis)[:, :, :20] for s in ("train", "test")}
      labels = {f"{s}_labels": getattr(toy, s).y for s in ("train", "test")}
      np.savez(tmp_path / f"{target}.npz", **arrays, **labels)
      arguments = [a.replace(target, f"npz:{tmp_path / target}.npz") for a in arguments]
  given = [f"--dataset={toy_npz}", f"--out={tmp_path / 'out'}", f"--data_dir={tmp_path}", *TINY]
  assert call(name, *given, *arguments) == 1
  captured = capsys.readouterr()
  (line,) = captured.err.splitlines()
  assert re.search(message, line), line
  assert not list((tmp_path / "out").glob("*/checkpoints"))


@pytest.mark.parametrize("name", ["linear_eval", "label_curve", "transfer"])
def test_help(name, capsys):
  assert call(name, "--help=all") == 0
  text = capsys.readouterr().out
  flag = {"linear_eval": "--checkpoint", "label_curve": "--at", "transfer": "--match_channels"}[name]
  for part in (f"./launch.sh {name}", "--methods", "--labels", flag, "arXiv"):
    assert part in text
