"""sslx.records, report, pages and figures: numbers against closed forms, files against kills, the page against hostile names."""

import json
import re
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import Page
from PIL import Image

from sslx import report
from sslx.report import figures, pages, records
from sslx.types import UserError

SCRATCH = [0.80, 0.82, 0.81]
FROZEN = [0.81, 0.84, 0.84]  # differences 0.01, 0.02, 0.03


def row(mode, seed, accuracy, labels=100, **more):
  base = {"experiment": "few", "method": "denoising", "dataset": "mnist", "encoder": "cnn", "features": 128}
  counts = {"parameters_total": 1000, "parameters_trainable": 10, "seconds": 2.0, "chosen": {"l2": 0.1}}
  about = {"git": "abc1234", "seed": 0, "versions": {"jax": "1"}, "device": "cpu x1", "flags": {}}
  own = {"mode": mode, "labels": labels, "subset_seed": seed, "test_accuracy": accuracy}
  return {**base, **counts, **about, **own, **more}


def rows(labels=100, **modes):
  return [row(mode, seed, value, labels) for mode, values in modes.items() for seed, value in enumerate(values)]


def entry(summary, mode, labels=100):
  (found,) = [e for e in summary if e["mode"] == mode and e["labels"] == labels]
  return found


# ---- JSONL -----------------------------------------------------------------------------------------------------------


def test_rows_come_back_as_plain_numbers(tmp_path):
  path = tmp_path / "new" / "results.jsonl"
  assert records.read_rows(path) == []
  given = {"a": np.float32(0.5), "b": jnp.int32(3), "c": np.arange(2), "d": float("nan"), "e": jnp.bfloat16(2)}
  records.append_row(path, given | {"f": {"deep": (np.bool_(True), -np.inf, None)}, "g": path, "h": "ü"})
  expected = {"a": 0.5, "b": 3, "c": [0, 1], "d": None, "e": 2.0, "f": {"deep": [True, None, None]}}
  assert records.read_rows(path) == [expected | {"g": str(path), "h": "ü"}]
  with pytest.raises(TypeError, match="no JSON form for object"):
    records.append_row(path, {"a": object()})
  assert len(records.read_rows(path)) == 1


@pytest.mark.parametrize(
  "tail", [b'{"i": 1, "x": ', b'{"i"', b"\xff\xfe", b"null", b'{"broken": \n', b"x" * 200_000], ids=range(6)
)
@pytest.mark.parametrize("head", [b"", b'{"i": 0}\n', b'{"i": 0, "long": "' + b"y" * 70_000 + b'"}\n'], ids=range(3))
def test_a_broken_last_line_is_dropped_then_cut_off(tmp_path, head, tail):
  path = tmp_path / "results.jsonl"
  path.write_bytes(head + tail)
  before = records.read_rows(path)
  assert len(before) == head.count(b"\n")
  records.append_row(path, {"i": 9})
  assert records.read_rows(path) == [*before, {"i": 9}]
  assert path.read_bytes() == head + b'{"i": 9}\n'


def test_a_whole_last_line_without_newline_is_kept(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_bytes(b'{"i": 0}\n{"i": 1}')
  records.append_row(path, {"i": 2})
  assert [r["i"] for r in records.read_rows(path)] == [0, 1, 2]


def test_a_broken_earlier_line_is_named(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_text('{"i": 0}\n\n{"i": \n{"i": 2}\n')
  with pytest.raises(UserError, match=r"results\.jsonl: line 3 "):
    records.read_rows(path)


# ---- provenance ------------------------------------------------------------------------------------------------------


def test_provenance_is_written_and_read_back(tmp_path):
  made = records.provenance()
  assert set(made["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "sslx"}
  assert re.search(r" x\d+; .+, \d+ cores$", made["device"])
  assert made["git"] is None or re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", made["git"])
  records.append_row(tmp_path / "a", made)
  assert records.read_rows(tmp_path / "a") == [made]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_is_the_hash_of_this_package_not_of_a_repository_around_it(tmp_path, monkeypatch):
  def git(*arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

  for folder in ("sslx", "venv/sslx"):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "records.py").write_text("")
  monkeypatch.setattr(records, "__file__", str(tmp_path / "sslx" / "records.py"))
  assert records._git() is None  # no repository
  git("init", "-q")
  assert records._git() is None  # no commit
  git("add", ".")
  git("commit", "-qm", "a")
  assert re.fullmatch(r"[0-9a-f]{7,}", records._git())
  (tmp_path / "sslx" / "new_method.py").write_text("")
  assert records._git().endswith("-dirty")
  monkeypatch.setattr(records, "__file__", str(tmp_path / "venv" / "sslx" / "records.py"))
  assert records._git() is None


# ---- summary ---------------------------------------------------------------------------------------------------------


def test_t_interval_matches_the_closed_form():
  found = entry(report.summarise(rows(scratch=SCRATCH, frozen=FROZEN)), "frozen")
  half = 4.302652729911275 * 0.01 / np.sqrt(3)  # t(0.975, 2 degrees of freedom), sd 0.01, three pairs
  np.testing.assert_allclose([found["difference"], found["low"], found["high"]], [0.02, 0.02 - half, 0.02 + half])
  np.testing.assert_allclose([found["mean"], found["std"]], [0.83, np.sqrt(0.0003)])
  assert (found["n"], found["pairs"], found["seconds"]) == (3, 3, 2.0)
  assert [found[f"parameters_{kind}"] for kind in ("total", "trainable", "frozen")] == [1000, 10, 990]
  baseline = entry(report.summarise(rows(scratch=SCRATCH)), "scratch")
  assert baseline["difference"] is baseline["low"] is baseline["high"] is None


def test_pairs_are_made_by_seed():
  given = rows(scratch=SCRATCH, frozen=FROZEN)
  straight = entry(report.summarise(given), "frozen")
  order = np.random.default_rng(0).permutation(len(given))
  assert entry(report.summarise([given[i] for i in order]), "frozen") == straight
  missing = [r for r in given if (r["mode"], r["subset_seed"]) != ("scratch", 1)]
  found = entry(report.summarise(missing), "frozen")
  assert (found["n"], found["pairs"]) == (3, 2)
  np.testing.assert_allclose(found["difference"], 0.02)  # of 0.01 and 0.03: seed 1 has no partner
  assert "(2 pairs)" in report.markdown(report.results_table(report.summarise(missing)))


def test_the_last_of_equal_rows_counts():
  given = [row("frozen", 0, 0.1), *rows(scratch=SCRATCH, frozen=FROZEN)]
  assert entry(report.summarise(given), "frozen")["accuracies"] == FROZEN


def test_order_is_labels_ascending_then_modes_as_first_seen():
  given = rows(1000, frozen=[0.9], scratch=[0.9]) + rows(10, scratch=[0.5], raw=[0.4], frozen=[0.6])
  found = [(e["labels"], e["mode"]) for e in report.summarise(given)]
  assert found == [(10, "frozen"), (10, "scratch"), (10, "raw"), (1000, "frozen"), (1000, "scratch")]


def test_the_baseline_of_another_method_will_do_but_not_of_another_encoder():
  given = rows(frozen=FROZEN) + [r | {"method": "supervised"} for r in rows(scratch=SCRATCH)]
  np.testing.assert_allclose(entry(report.summarise(given), "frozen")["difference"], 0.02)
  given = rows(frozen=FROZEN) + [r | {"encoder": "mlp"} for r in rows(scratch=SCRATCH)]
  assert entry(report.summarise(given), "frozen")["difference"] is None


@pytest.mark.parametrize("bad", [None, float("nan")])
def test_a_row_without_accuracy_is_an_error(bad):
  with pytest.raises(UserError, match="row 1: test_accuracy"):
    report.summarise([row("frozen", 0, bad)])


# ---- sentences and tables --------------------------------------------------------------------------------------------


def test_verdicts():
  base = [0.80, 0.82, 0.81, 0.802]
  modes = {
    "scratch": base,
    "frozen": [x + d for x, d in zip(base, (0.030, 0.031, 0.032, 0.031), strict=True)],
    "full": [x + d for x, d in zip(base, (0.012, -0.01, 0.02, -0.01), strict=True)],
    "last:1": [x - d for x, d in zip(base, (0.030, 0.031, 0.032, 0.031), strict=True)],
    "raw": [0.79, 0.79, 0.79, 0.79],
  }
  sentences = report.verdict(report.summarise(rows(**modes)))
  assert sentences[:3] == [
    "frozen: +3.1 points over scratch at 100 labels, 95% CI [+3.0, +3.2]: better.",
    "full: +0.3 points over scratch at 100 labels, 95% CI [-2.1, +2.7]: the interval includes zero: "
    "no measurable difference.",
    "last:1: -3.1 points against scratch at 100 labels, 95% CI [-3.2, -3.0]: worse.",
  ]
  assert sentences[3] == (
    "last:1 does not beat raw (a probe on the raw pixels) at 100 labels: mean 77.7% against 79.0%."
  )
  assert len(sentences) == 5
  assert "share one pretraining run" in sentences[4]


def test_no_scratch_one_mode_one_seed():
  summary = report.summarise(rows(frozen=[0.9]))
  assert report.verdict(summary) == ["frozen: there is no scratch row at 100 labels: not compared."]
  assert summary[0]["std"] is None
  assert " 90.0 |" in report.markdown(report.results_table(summary))
  single = report.summarise(rows(labels=1, scratch=[0.8], frozen=[0.9]))
  assert report.verdict(single) == [
    "frozen: +10.0 points over scratch at 1 label, on one labelled subset: too few for an interval, so no claim."
  ]
  apart = report.summarise([row("scratch", 0, 0.8), row("frozen", 1, 0.9)])
  assert "no labelled subset in common" in report.verdict(apart)[0]
  assert report.verdict(report.summarise(rows(scratch=SCRATCH))) == ["There is no pretrained encoder to judge yet."]
  assert report.verdict([]) == ["There are no results yet."]
  assert report.markdown(report.results_table([])).startswith("| labels")


def test_markdown_tables():
  given = rows(**{"scratch": SCRATCH, "a|b [red]": FROZEN})
  table = report.markdown(report.results_table(report.summarise(given)))
  lines = table.splitlines()
  assert len(lines) == 4
  assert "| 81.0 ± 1.0 |" in lines[2]
  assert r"a\|b [red]" in lines[3]
  assert "+2.0 [-0.5, +4.5]" in lines[3]
  assert "1,000" in report.markdown(report.parameters_table(report.summarise(given)))


def test_parameters_are_listed_once_per_mode():
  summary = report.summarise(rows(10, frozen=[0.5]) + rows(100, frozen=[0.6]))
  assert report.parameters_table(summary).row_count == 1


def test_results_fit_a_terminal_of_80_columns():
  from rich.console import Console

  summary = report.summarise([*rows(scratch=SCRATCH, frozen=FROZEN), row("frozen", 0, 0.9, method="byol")])
  console = Console(width=80)
  with console.capture() as captured:
    console.print(report.results_table(summary))
  assert "+2.0 [-0.5, +4.5]" in captured.get()
  assert "denoising" in captured.get()


# ---- HTML ------------------------------------------------------------------------------------------------------------


def write_page(folder, given, word="plain", **changes):
  path = figures.save(figures.accuracy_bars(report.summarise(given)), folder / "figures" / "bars.png")
  arguments = {
    "title": word,
    "command": f"run --x={word}",
    "config": {word: {"a": word}, "rate": 0.001},
    "rows": given,
    "summary": report.summarise(given),
    "figures": [(word, word, path), (word, word, "figures/bars.png")],
    "timings": {word: 130.0, "train": 1.0},
  }
  return pages.write_html(folder, **(arguments | changes)).read_text()


def test_html_is_self_contained_and_escapes_hostile_names(tmp_path):
  hostile = "\"'><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>{{ 7 * 7 }} & </style>"
  given = [r | {"method": hostile, "mode": r["mode"] + hostile, "device": hostile, "chosen": {hostile: hostile}}
           for r in rows(scratch=SCRATCH, frozen=FROZEN)]  # fmt: skip
  text = write_page(tmp_path, given, hostile)
  page = Page(text)
  assert "script" not in page.tags
  assert page.tags.count("img") == 2
  assert not [name for _, name, _ in page.attributes if name.startswith("on")]
  links = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action")]
  assert len(links) == 3
  assert all(value.startswith("data:") for value in links)
  assert "url(" not in text
  assert "@import" not in text
  assert hostile in page.text  # shown as it is, not as markup
  assert all(value for tag, name, value in page.attributes if (tag, name) == ("img", "alt"))
  assert page.tags.count("th") == len([1 for tag, name, _ in page.attributes if (tag, name) == ("th", "scope")])
  assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []


def test_html_holds_the_numbers(tmp_path):
  text = Page(write_page(tmp_path, rows(scratch=SCRATCH, frozen=FROZEN, raw=[0.9] * 3))).text
  for part in ("83.0 ± 1.7", "+2.0 [-0.5, +4.5]", "2 min 10 s", "rate", "0.001", "abc1234", "l2=0.1", "99%"):
    assert part in text
  assert "frozen does not beat raw" in text
  assert "share one pretraining run" in text


def test_html_of_an_empty_run_and_of_a_missing_figure(tmp_path):
  bare = {"figures": [], "timings": {}, "config": {}}
  assert "There are no results yet." in write_page(tmp_path, [], **bare)
  with pytest.raises(UserError, match=r"nowhere\.png"):
    write_page(tmp_path, [], figures=[("a", "b", "nowhere.png")])
  (tmp_path / "fake.png").write_text("<svg>")
  with pytest.raises(UserError, match="not a PNG"):
    write_page(tmp_path, [], figures=[("a", "b", "fake.png")])


# ---- figures ---------------------------------------------------------------------------------------------------------


def saved(fig, folder):
  with Image.open(figures.save(fig, folder / "figures" / "one.png")) as image:
    image.load()
    assert 50 <= image.width <= 3000
    assert 30 <= image.height <= 3000
    pixels = np.asarray(image.convert("L"))
  assert pixels.min() < 200 < pixels.max()  # not blank
  assert [p.name for p in (folder / "figures").iterdir()] == ["one.png"]


def test_loss_curve(tmp_path):
  metrics = [{"step": s, "loss": 1 / (s + 1), "psnr": s, "note": "x", "odd": None} for s in range(100)]
  fig = figures.loss_curve([*metrics, {"step": 99, "loss": 5.0, "images_per_second": 1e4}])
  assert [ax.get_title("left") for ax in fig.axes] == ["loss", "psnr", "images per second"]
  assert fig.axes[0].lines[0].get_ydata()[-1] == 5.0  # the resumed run's
  saved(fig, tmp_path)
  held = [{"step": 10 * s, "heldout_loss": 2.0 + s, "heldout_psnr": 3.0, "heldout_only": 1.0} for s in range(5)]
  fig = figures.loss_curve([*metrics, *held])
  assert [ax.get_title("left") for ax in fig.axes] == ["loss", "psnr", "heldout only"]
  assert fig.axes[0].lines[-1].get_ydata().tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]
  saved(fig, tmp_path)
  figures.loss_curve([])


def test_running_mean():
  values = np.arange(50.0)
  smooth = figures._running_mean(values, 10)
  np.testing.assert_allclose(smooth[:-5], values[:-5])  # a slope is not bent
  np.testing.assert_allclose(smooth[-1], values[-6:].mean())
  np.testing.assert_allclose(figures._running_mean(np.full(9, 2.0), 5), 2.0)


def test_accuracy_bars_and_label_curve(tmp_path):
  few = rows(10, raw=[0.4, 0.5], scratch=[0.5, 0.5], frozen=[0.6])
  summary = report.summarise(few + rows(100, scratch=SCRATCH, **{"$a$ last:1": FROZEN}))
  saved(figures.accuracy_bars(summary), tmp_path)
  fig = figures.label_curve(summary)
  assert [text.get_text() for text in fig.axes[0].get_xticklabels()] == ["10", "100"]
  saved(fig, tmp_path)
  assert figures.label_curve(report.summarise(few)) is None
  saved(figures.accuracy_bars(report.summarise(rows(frozen=[0.9]))), tmp_path)  # no baseline, no spread
  saved(figures.accuracy_bars(report.summarise(rows(frozen=[1.0, 1.0], scratch=[0.0, 0.0]))), tmp_path)
  figures.accuracy_bars([])


@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (12, 8, 8), (1, 32, 48, 3)])
def test_picture_rows(tmp_path, shape):
  images = np.random.default_rng(0).normal(0.5, 1, shape)
  saved(figures.picture_rows({"clean": images, "a_long $title$ over lines": jnp.asarray(images)}), tmp_path)


def test_picture_rows_refuses_other_shapes_and_takes_none():
  with pytest.raises(ValueError, match="clean: images of shape"):
    figures.picture_rows({"clean": np.zeros((2, 8, 8, 2))})
  figures.picture_rows({})


def test_predictions_mark_right_and_wrong_in_words(tmp_path):
  images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
  fig = figures.predictions(images, [0, 1, 1], [0, 0, 1], ["cat", "dog"], [0.9, 0.6, 1.0])
  shown = [ax.get_xlabel() for ax in fig.axes[:3]]
  assert shown == ["✓ cat (90%)\n", "✗ cat (60%)\ntrue: dog", "✓ dog (100%)\n"]
  saved(fig, tmp_path)
  saved(figures.predictions(images, [0, 1, 1], [0, 0, 1], ["a rather long name", "$x$"]), tmp_path)


def test_confusion_counts_and_picture(tmp_path):
  labels, predicted = [0, 0, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0]
  counts = figures.confusion_counts(labels, predicted, 3)
  np.testing.assert_array_equal(counts, [[2, 1, 0], [1, 2, 0], [0, 0, 0]])
  fig = figures.confusion(jnp.asarray(labels), jnp.asarray(predicted), ["a", "b", "c"])
  ax = fig.axes[0]
  assert {t.get_position(): t.get_text() for t in ax.texts} == {(0, 0): "2", (1, 0): "1", (0, 1): "1", (1, 1): "2"}
  assert ax.get_title("left") == "accuracy: 66.7% of 6"
  np.testing.assert_allclose(ax.images[0].get_array()[0], [2 / 3, 1 / 3, 0])
  saved(fig, tmp_path)
  many = figures.confusion(np.arange(60), np.arange(60), [str(i) for i in range(60)])
  assert not many.axes[0].texts


def test_jsonl_lines_are_valid_json(tmp_path):
  path = tmp_path / "metrics.jsonl"
  for step in range(3):
    records.append_row(path, {"step": step, "loss": jnp.float32(np.nan)})
  assert [json.loads(line) for line in path.read_text().splitlines()][2] == {"step": 2, "loss": None}
