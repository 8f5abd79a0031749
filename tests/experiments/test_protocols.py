"""experiments.linear_eval, label_curve and transfer: rows, resumption, percentages, and the labels that scratch needs."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
import sslx.compare
from helpers import directory, rows_of, tasks_of
from PIL import Image

from experiments import label_curve, linear_eval, low_label, readme_table, transfer
from experiments.shared import cli as common
from sslx import report
from sslx.data import Split
from sslx.data.images import with_channels
from sslx.evaluation import finetune
from sslx.report import figures, labels_saved, records

MAINS = {"linear_eval": linear_eval.main, "label_curve": label_curve.main, "transfer": transfer.main,
         "low_label": low_label.main}  # fmt: skip
TINY = ["--encoder=conv:widths=4-6", "--seeds=2", "--smoke"]


def call(name: str, *arguments: str) -> int:
  return common.run(MAINS[name], f"experiments.{name}", [name, *arguments])


@pytest.fixture(scope="module")
def other_npz(toy, tmp_path_factory) -> str:
  """A target with the toy set's labels and its images' negatives."""
  path = tmp_path_factory.mktemp("other") / "other.npz"
  arrays = {f"{name}_images": 255 - getattr(toy, name).images for name in ("train", "test")}
  np.savez(path, **arrays, **{f"{name}_labels": getattr(toy, name).labels for name in ("train", "test")})
  return f"npz:{path}"


@pytest.fixture(scope="module")
def finished(toy_npz, other_npz, tmp_path_factory):
  """All three experiments, once: (--out, their arguments, how often each task was tested on which test split)."""
  out = tmp_path_factory.mktemp("runs")
  given = [f"--dataset={toy_npz}", f"--out={out}", *TINY]
  arguments = {
    "linear_eval": [*given, "--labels=10%,all"],
    "label_curve": [*given, "--labels=6,24,10%,all", "--at=24"],
    "transfer": [*given, "--labels=12", "--oracle", f"--targets={other_npz},{toy_npz}"],
  }
  train, test, tested = sslx.compare.train_classifiers, sslx.compare.logits, []

  def without_test_images(tasks, dataset, *rest):
    return train(tasks, dataclasses.replace(dataset, test=None), *rest)

  def counted(trained, encode, split):
    tested.extend((name, task, len(split)) for task in trained)
    return test(trained, encode, split)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sslx.compare, "train_classifiers", without_test_images)
    patch.setattr(sslx.compare, "logits", counted)
    for name, own in arguments.items():
      assert call(name, *own) == 0
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
  assert len({r["pretraining"]["epochs"] for r in rows if r["pretraining"]}) == 1
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
    assert pictures == set(drawn[name]), name
    for path in (run / "figures").iterdir():
      with Image.open(path) as picture:
        assert min(picture.size) > 200
    page, tables = (run / "report.html").read_text(), (run / "tables.md").read_text()
    assert page.count("data:image/png") >= len(pictures)
    for text in wanted[name]:
      assert text in page, (name, text)
    assert tables.count("\n\n|") >= 2
    mode = "full" if name == "transfer" else "frozen"
    first = rows_of(run)[0]["dataset"]
    mean = np.mean([r["test_accuracy"] for r in rows_of(run)
                    if (r["method"], r["mode"]) == ("denoise", mode) and r["labels"] in (12, 24) and r["dataset"] == first])  # fmt: skip
    assert any(f"{100 * mean:.1f} ±" in line for line in tables.splitlines() if line.startswith("| denoise "))


def test_tables_go_into_a_page(finished, tmp_path, monkeypatch):
  out, arguments, _ = finished
  monkeypatch.setattr(common, "__file__", str(tmp_path / "experiments/shared/cli.py"))
  (tmp_path / "page.md").write_text(f"# Protocols\n{readme_table.BEGIN}\nold\n{readme_table.END}\nend\n")
  readme_table.main([directory(out, name) for name in arguments], "page.md")
  page = (tmp_path / "page.md").read_text()
  assert "old" not in page
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


@pytest.mark.parametrize(("heldout", "counts"), [(0, [6, 12, 24, 240]), (40, [5, 12, 20, 200])])
def test_percentages_are_of_the_labels_that_there_are(heldout, counts, toy):
  found = []
  arguments = ["low_label", "--labels=2.5%,12, 10% ,all,100%"]
  assert common.run(lambda: found.extend(common.label_counts(toy, heldout)), "experiments.low_label", arguments) == 0
  assert found == counts


BAD = [
  ("linear_eval", ["--labels=ten%"], r"--labels=ten%: 'ten%' is neither a number of labels, a percentage such as 10%"),
  ("linear_eval", ["--labels=0%"], r"--labels=0%: "),
  ("linear_eval", ["--labels=101%"], r"--labels=101%: "),
  ("linear_eval", ["--labels=0.1%"], r"--labels: .*0 labels"),
  ("linear_eval", ["--labels=50%", "--modes=knn:121"], r"--modes=knn:121: k must be between 1 .*\(120\)"),
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
      arrays = {f"{s}_images": np.repeat(getattr(toy, s).images, repeat, axis)[:, :, :20] for s in ("train", "test")}
      labels = {f"{s}_labels": getattr(toy, s).labels for s in ("train", "test")}
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
  assert call(name, "--help") == 0
  text = capsys.readouterr().out
  own = {"linear_eval": "--checkpoint", "label_curve": "--at", "transfer": "--match_channels"}[name]
  for part in (f"python -m experiments.{name}", "--methods", "--labels", own, "arXiv"):
    assert part in text


def test_channels_are_converted_as_pillow_does(toy):
  rng = np.random.default_rng(0)
  colour = Split(rng.integers(0, 256, (5, 7, 6, 3)).astype(np.uint8), np.arange(5, dtype=np.int32))
  grey = with_channels(colour, 1, 1 << 20)
  pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in colour.images])
  np.testing.assert_array_equal(grey.images[..., 0], pillow)
  back = with_channels(grey, 3, 1 << 20)
  np.testing.assert_array_equal(back.images, np.stack([pillow] * 3, axis=-1))
  assert with_channels(back, 3, 1 << 20) is back
  lazy = with_channels(colour, 1, 0)  # above the limit nothing is kept
  np.testing.assert_array_equal(lazy.images[np.array([3, 1])], grey.images[[3, 1]])
  np.testing.assert_array_equal(back.labels, colour.labels)


def test_fine_tuning_makes_so_many_passes(toy, monkeypatch):
  steps = []

  def fit(ts, step, data, **how):
    steps.append(how["steps"])
    return ts

  monkeypatch.setattr(finetune.train, "fit", fit)
  from sslx import nn

  encoder = nn.build("conv:widths=4")
  encode = finetune.encode_fn(encoder, "flatten")
  tree = finetune.make_init_encoder(encoder, toy.image_shape)(0)
  for epochs in (1.0, 2.5, 20.0):
    recipe = finetune.Recipe(steps=10, batch_size=8, epochs=epochs)
    tune = finetune.make_finetune(encoder, "flatten", 3, encoder.block_names, recipe, encode)
    tune(tree, toy.train.images[:60], toy.train.labels[:60], 0)
  assert steps == [10, 17, 140]  # 60 labels: 7 batches of 8


def test_labels_to_reach_closed_forms():
  counts = [10, 100, 1000]
  reach = labels_saved.labels_to_reach
  assert reach(counts, [0.2, 0.4, 0.6], 0.4) == pytest.approx(100)
  assert reach(counts, [0.2, 0.4, 0.6], 0.3) == pytest.approx(math.sqrt(10 * 100))  # the middle of the logarithms
  assert reach(counts, [0.2, 0.4, 0.6], 0.45) == pytest.approx(100 * 10**0.25)
  assert reach(counts, [0.2, 0.4, 0.6], 0.1) == 10
  assert reach(counts, [0.2, 0.4, 0.6], 0.61) == math.inf
  assert reach(counts, [0.2, 0.5, 0.4], 0.45) == pytest.approx(
    10 * 10 ** (0.25 / 0.3)
  )  # the first time, if it falls again
  # accuracy = a log(labels): the number of labels is the inverse function, wherever the points lie
  uneven = [3, 17, 40, 900]
  curve = [0.1 * math.log(n) for n in uneven]
  for n in (4, 17, 39, 777.7):
    assert reach(uneven, curve, 0.1 * math.log(n)) == pytest.approx(n)


def curve_rows(mode: str, method: str, accuracies: dict[int, list[float]]) -> list[dict]:
  shared = {"method": method, "dataset": "d", "encoder": "e", "mode": mode}
  return [
    {**shared, "labels": n, "subset_seed": s, "test_accuracy": a}
    for n, values in accuracies.items()
    for s, a in enumerate(values)
  ]


def test_labels_needed_by_mean_curve_and_by_subset():
  rows = curve_rows("scratch", "none", {10: [0.2, 0.4], 100: [0.5, 0.5], 1000: [0.7]})  # 1000: all labels
  rows += curve_rows("frozen", "a", {10: [0.4, 0.4], 100: [0.8, 0.6], 1000: [0.71]})
  rows += curve_rows("random", "none", {10: [0.9, 0.9], 100: [0.9, 0.9], 1000: [0.9]})
  found = labels_saved.labels_needed(report.summarise(rows))
  assert [(one.name, one.labels) for one in found] == [("a frozen", 10), ("a frozen", 100), ("a frozen", 1000)]
  assert found[0].needed == pytest.approx(10 * 10**0.5)
  assert found[0].subsets == pytest.approx((10 * 10 ** (2 / 3), 10))
  assert found[1].needed == pytest.approx(1000)
  assert found[1].subsets == pytest.approx((math.inf, 100 * 10**0.5))
  assert found[2].needed == math.inf
  headers, lines = labels_saved.needed_cells(found)
  assert headers == ["as good as", "10 labels", "100 labels", "1,000 labels"]
  assert lines == [["a frozen", "32 (3.2 times)", "1,000 (10 times)", "> 1,000"]]
  assert labels_saved.needed_sentences(found, 10) == [
    "a frozen has 40.0% with 10 labels; scratch is as good with about 32 (by subset ≤ 10 to 46): 3.2 times as many."
  ]
  (never,) = labels_saved.needed_sentences(found, 1000)
  assert never.endswith("scratch with 1,000, the most it was given: not as good.")
  assert labels_saved.times_text(found[2]) == "> 1.0 times"
  assert labels_saved.needed_sentences(found, 7) == []
  assert labels_saved.labels_needed(report.summarise([r for r in rows if r["labels"] == 10])) == []


def test_curve_draws_the_arrow_to_scratch_or_to_the_edge():
  rows = curve_rows("scratch", "none", {10: [0.2, 0.4], 1000: [0.7, 0.7]}) + curve_rows(
    "full", "a", {10: [0.5], 1000: [0.8]}
  )
  summary = report.summarise(rows)
  (ax,) = figures.label_curve(summary, [(10, 100, 0.5, "ten times"), (10, math.inf, 0.9, "never")]).axes
  arrows = [(a.xyann, a.xy) for a in ax.texts if not a.get_text()]
  assert arrows == [((10, 50.0), (100, 50.0)), ((10, 90.0), (1000, 90.0))]
  assert [(t.get_text(), t.xy[0]) for t in ax.texts if t.get_text()] == [
    ("ten times", pytest.approx(math.sqrt(1000))),
    ("never", 100),
  ]


def test_several_data_sets_have_columns_and_panels_of_their_own():
  rows = [
    {**row, "dataset": dataset, "test_accuracy": row["test_accuracy"] - 0.1 * (dataset == "c")}
    for dataset in ("b", "c")
    for row in curve_rows("scratch", "none", {10: [0.2, 0.4]}) + curve_rows("frozen", "a", {10: [0.5, 0.7]})
  ]
  summary = report.summarise(rows)
  headers, lines = report.methods_cells(summary, 10)
  assert headers == ["method", "b frozen", "c frozen", "b full", "c full"]
  assert lines == [
    ["no pretraining", "", "", "30.0 ± 14.1", "20.0 ± 14.1"], ["a", "60.0 ± 14.1 ↑", "50.0 ± 14.1 ↑", "", ""]
  ]  # fmt: skip
  panels = [ax for ax in figures.method_dots(summary).axes if ax.axison]
  assert [ax.get_title(loc="left") for ax in panels] == ["b, 10 labels", "c, 10 labels"]
  assert len(report.best(summary)) == 2


def test_a_probe_of_several_features_has_a_table_for_each(tmp_path):
  shared = {"experiment": "probe", "git": "abc", "versions": {"jax": "1"}, "device": "cpu", "command": "python -m x"}
  for features, steps, accuracy in (("flatten", 1, 0.1), ("flatten", 2, 0.2), ("pool", 1, 0.3)):
    for row in curve_rows("frozen", "a", {10: [accuracy, accuracy]}):
      settings = {"features": features, "steps": steps}
      records.append_row(tmp_path / "results.jsonl", {**row, **shared, "features": features, "settings": settings})
  text = readme_table.section(tmp_path)
  assert re.findall("^### .*", text, re.MULTILINE) == ["### a on d", "### a on d, --features=pool"]
  assert "10.0" not in text  # of settings that were changed since
  assert text.index("20.0") < text.index("30.0")
