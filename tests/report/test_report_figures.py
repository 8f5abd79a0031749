"""sslx.report.figures: what a figure shows of known rows, and that its file is a picture."""

import io
import unicodedata

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from report_rows import FROZEN, SCRATCH, rows

from sslx import report
from sslx.interpret import figures as drawings
from sslx.report import figures, tables
from sslx.report.figures import curves, style
from sslx.types import Score


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
  assert [ax.get_title("left") for ax in fig.axes] == ["loss", "psnr", "examples per second"]
  assert fig.axes[0].lines[0].get_ydata()[-1] == 5.0  # the resumed run's
  saved(fig, tmp_path)
  held = [{"step": 10 * s, "heldout_loss": 2.0 + s, "heldout_psnr": 3.0, "heldout_only": 1.0} for s in range(5)]
  fig = figures.loss_curve([*metrics, *held])
  assert [ax.get_title("left") for ax in fig.axes] == ["loss", "psnr", "heldout only"]
  assert fig.axes[0].lines[-1].get_ydata().tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]
  saved(fig, tmp_path)
  speeds = [
    {"step": 1, "images_per_second": 1.0},
    {"step": 2, "examples_per_second": 2.0},
  ]  # before and after an update
  (ax,) = figures.loss_curve(speeds).axes
  assert ax.lines[0].get_ydata().tolist() == [1.0, 2.0]
  figures.loss_curve([])


def test_running_mean():
  values = np.arange(50.0)
  smooth = curves.running_mean(values, 10)
  np.testing.assert_allclose(smooth[:-5], values[:-5])  # a slope is not bent
  np.testing.assert_allclose(smooth[-1], values[-6:].mean())
  np.testing.assert_allclose(curves.running_mean(np.full(9, 2.0), 5), 2.0)


def test_score_dots_and_label_curve(tmp_path):
  ten = rows(10, raw=[0.4, 0.5], scratch=[0.5, 0.5], frozen=[0.6])
  summary = report.summarise(ten + rows(100, scratch=SCRATCH, **{"$a$ last:1": FROZEN}))
  saved(figures.score_dots(summary), tmp_path)
  fig = figures.label_curve(summary)
  assert [text.get_text() for text in fig.axes[0].get_xticklabels()] == ["10", "100"]
  saved(fig, tmp_path)
  assert figures.label_curve(report.summarise(ten)) is None
  saved(figures.score_dots(report.summarise(rows(frozen=[0.9]))), tmp_path)  # no baseline, no spread
  saved(figures.score_dots(report.summarise(rows(frozen=[1.0, 1.0], scratch=[0.0, 0.0]))), tmp_path)
  figures.score_dots([])


@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (12, 8, 8), (1, 32, 48, 3)])
def test_picture_rows(tmp_path, shape):
  images = np.random.default_rng(0).normal(0.5, 1, shape)
  saved(figures.picture_rows({"clean": images, "a_long $title$ over lines": jnp.asarray(images)}), tmp_path)


@pytest.mark.parametrize(("shape", "count"), [((28, 28), 10), ((40, 100), 4), ((40, 190), 4), ((32, 48), 7)])
def test_a_row_has_fewer_pictures_where_they_are_wide(shape, count):
  fig = figures.picture_rows({"sounds": np.zeros((12, *shape)), "others": np.zeros((12, *shape))})
  (strip,) = {image.get_array().shape for ax in fig.axes for image in ax.images}
  assert strip == (shape[0], count * (shape[1] + shape[1] // 14) - shape[1] // 14)
  assert fig.get_figwidth() == pytest.approx(7.3, abs=0.6)


@pytest.mark.parametrize(("shape", "count"), [((64, 394), 2), ((96, 970), 1), ((40, 2000), 1)])
def test_of_strips_of_frames_a_row_has_one_or_two(shape, count):
  """On a figure that is wider than others, so that each frame is large enough to be seen."""
  fig = figures.picture_rows({"clip": np.zeros((12, *shape)), "others": np.zeros((12, *shape))})
  (strip,) = {image.get_array().shape for ax in fig.axes for image in ax.images}
  assert strip == (shape[0], count * (shape[1] + shape[1] // 14) - shape[1] // 14)
  assert 7.3 < fig.get_figwidth() < 10


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


def test_predictions_of_wide_pictures_leave_no_gaps():
  def height(width: int) -> float:
    images = np.zeros((20, 40, width))
    return figures.predictions(images, np.zeros(20, int), np.zeros(20, int), ["a", "b"]).get_figheight()

  assert height(40) == height(20) == pytest.approx(4 * 1.45 + 0.45)
  assert height(100) == pytest.approx(5 * (1.35 / 2.5 + 0.4) + 0.45)


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


def test_arrows_of_a_label_curve_end_at_the_plots_edge():
  summary = report.summarise(rows(10, frozen=[0.5, 0.6]) + rows(100, frozen=[0.7, 0.8]))
  fig = figures.label_curve(summary, [figures.Span(10, 1e6, 0.55, "never"), figures.Span(10, 40, 0.5, "four times")])
  assert fig is not None
  arrows = [text for text in fig.axes[0].texts if getattr(text, "arrow_patch", None)]
  assert [(text.xyann, text.xy) for text in arrows] == [
    ((10, pytest.approx(55)), (100, pytest.approx(55))), ((10, 50), (40, 50))
  ]  # fmt: skip


# ---- names that are not plain ----------------------------------------------------------------------------------------

NAMES = (
  "\u732b\u3068\u72ac", "\u0642\u0637\u0629", "\u092c\u093f\u0932\u094d\u0932\u0940", "\U0001f431\U0001f984\u200d",
  "\u043a\u043e\u0442", "$x_1$", "$\\frac", "\\$1\\$ ^_{", "a\tb\nc\x00d", "a very " + 1000 * "long " + "name",
)  # fmt: skip


def figures_of_classes(names):
  classes, images = np.arange(len(names)), np.zeros((len(names), 8, 8, 1))
  yield figures.confusion(classes, classes[::-1], names)
  yield figures.predictions(images, classes, classes[::-1], names)
  yield drawings.neighbours(images, images[:, None], np.zeros((len(names), 1), bool), [[n, n] for n in names])
  yield drawings.class_maps({"map": np.arange(2 * len(names)).reshape(-1, 2)}, classes, names)


def figures_of_runs(one, other, third):
  """With names of methods, modes, data sets, encoders, scores and metrics."""
  names, images = (one, other, third), np.zeros((3, 8, 8, 1))
  modes = {name: [0.5, 0.6] for name in names}
  given = [r | {"dataset": names[r["labels"] % 2], "encoder": third} for n in (10, 101) for r in rows(n, **modes)]
  summary = report.summarise(given, one)
  methods = report.summarise([r | {"method": r["mode"], "mode": one} for r in given])
  yield figures.confusion([0, 1], [0, 0], ["a", "b"], Score(*names))
  yield figures.score_dots(summary)
  yield figures.label_curve(summary, [figures.Span(10, 20, 0.5, one)])
  yield figures.score_dots(methods)
  yield figures.trained_blocks(methods, {one: 0, "full": 2})
  yield figures.loss_curve([{"step": 1, **dict.fromkeys(names, 0.5)}])
  yield figures.picture_rows(dict.fromkeys(names, images))
  yield drawings.filters({name: images for name in names})
  yield drawings.strips([drawings.Strip(name, images, images[:, None], names[:1]) for name in names])


@pytest.mark.parametrize(
  "fallbacks", [(), ("no such font", "STIXGeneral"), style.FALLBACKS], ids=["none", "one", "all"]
)
def test_classes_may_have_names_in_any_script_and_of_any_length(fallbacks, monkeypatch):
  """No warning of a missing letter, no mathematics, and a picture that is not metres wide. Warnings are errors."""
  monkeypatch.setattr(style, "FALLBACKS", fallbacks)
  for fig in figures_of_classes(NAMES):
    size_of(fig)


def test_so_may_runs(monkeypatch):
  monkeypatch.setattr(style, "FALLBACKS", ())
  for fig in figures_of_runs("$\\frac", "\u732b$x_1$", NAMES[-1]):
    size_of(fig)


def size_of(fig):
  buffer = io.BytesIO()
  fig.savefig(buffer, format="png", dpi=20, bbox_inches="tight")
  with Image.open(buffer) as image:
    assert max(image.size) < 600  # 30 inches


def test_what_no_font_has_is_told_by_its_code(monkeypatch):
  monkeypatch.setattr(style, "FALLBACKS", ())
  assert style.drawable("cat, \u043a\u043e\u0442, \u00fc, \u2713") == "cat, \u043a\u043e\u0442, \u00fc, \u2713"
  assert style.short("\u732b\u72ac") == "[732B][72AC]"
  assert style.short("\u0e01\u0e31\n\tx") == "[0E01] x"  # a mark above it goes with its letter
  assert style.escape("$\u732b$\nb") == "\\$[732B]\\$\nb"
  long = style.escape(40 * "ab" + "end")
  assert (len(long), long[-3:], long.count("\u2026")) == (style.LONGEST, "end", 1)
  have, lack = style._letters(("STIXGeneral",)), style._letters(style.families())
  letter = next(letter for letter in map(chr, sorted(have - lack)) if unicodedata.category(letter)[0] in "LS")
  assert style.drawable(letter) == f"[{ord(letter):04X}]"
  monkeypatch.setattr(style, "FALLBACKS", ("STIXGeneral",))
  assert style.families()[-1] == "STIXGeneral"
  assert style.drawable(letter) == letter


def test_long_names_are_shortened_in_tables():
  long = 2500 * "ab"
  given = [r | {"method": method} for method in (f"{long}1", f"{long}2") for r in rows(**{long: [0.5]})]
  summary = report.summarise([*given, *rows(scratch=[0.4])])
  for cells in (
    report.results_cells(summary), report.parameters_cells(summary), report.methods_cells(summary, 100),
    report.curve_cells(summary),
  ):  # fmt: skip
    assert max(len(cell) for line in [cells.headers, *cells.rows] for cell in line) == tables.LONGEST
    assert len({line[0][-1] for line in cells.rows}) > 1  # their ends tell them apart
  assert tables.shortened("abcdefgh", 5) == "ab\u2026gh"
  assert tables.shortened("abcdefgh", 8) == "abcdefgh"
