"""sslx.report.figures.answers, boxes and masks: what is drawn of made-up answers, counted by hand."""

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from sslx.report import figures
from sslx.report.figures import style
from sslx.report.figures.boxes import matches
from sslx.tasks import ASKED, TASKS
from sslx.tasks.regression import r2 as score_of_numbers
from sslx.tasks.segmentation import scores as scores_of_masks

LONG = ["a very long class name", "$x_1$ ^_{", "\u732b", "\\frac", *(f"american_cocker_{i}" for i in range(16))]
NONE = [-1, 0, 0, 0, 0]


def size_of(fig) -> tuple[int, int]:
  """Inches of what is drawn. Warnings, such as of a missing letter or of no room, are errors."""
  buffer = io.BytesIO()
  fig.savefig(buffer, format="png", dpi=40, bbox_inches="tight")
  with Image.open(buffer) as image:
    width, height = image.width / 40, image.height / 40
  assert max(width, height) < 25
  return width, height


def heading(fig) -> str:
  return fig.get_suptitle()


def legend(fig) -> list[str]:
  return [text.get_text() for box in fig.legends for text in box.get_texts()]


# ---- boxes -----------------------------------------------------------------------------------------------------------


def drawn_boxes(ax) -> list[tuple]:
  """(kind, left, top, width, height) as drawn."""
  return [(p.get_label(), *p.get_xy(), p.get_width(), p.get_height()) for p in ax.patches]


def one_scene():
  """A box that is found, one of another class, one that is missed for its place, one without a partner, a weak one."""
  truth = np.array([[[0, 2, 4, 12, 14], [1, 20, 20, 30, 30], [0, 0, 25, 10, 31], NONE]], np.float32)
  predicted = np.array(
    [[
      [0, 3, 4, 12, 14, 0.9], [0, 20, 20, 30, 30, 0.8], [0, 0, 20, 10, 26, 0.7], [1, 14, 2, 20, 8, 0.3],
      [1, 20, 20, 30, 30, 0.29], [*NONE, 0.0],
    ]],
    np.float32,
  )  # fmt: skip
  return np.zeros((1, 32, 32, 1), np.float32), truth, predicted


def test_boxes_are_drawn_by_whether_they_find_one():
  images, truth, predicted = one_scene()
  fig = figures.boxes(images, truth, predicted, ["cat", "dog"])
  assert heading(fig) == "1 of 3 boxes found, 3 false, in this sample (scores of 0.3 and more)"
  (ax,) = fig.axes
  drawn = drawn_boxes(ax)
  assert [kind for kind, *_ in drawn] == ["true", "missed", "missed", "false", "false", "false", "found"]
  assert drawn[0] == ("true", 3.5, 1.5, 10, 10)  # half-open edges, and a pixel's number is at its middle
  assert drawn[-1] == ("found", 3.5, 2.5, 10, 9)
  colours = {patch.get_label(): to_hex(patch.get_edgecolor()) for patch in ax.patches}
  assert colours["found"] == style.RIGHT
  assert colours["false"] == style.WRONG
  assert len({*colours.values()}) == 4
  dashes = {patch.get_label(): patch.get_linestyle() for patch in ax.patches}
  assert dashes == {"true": "--", "missed": "--", "false": "-", "found": "-"}
  assert [text.get_text() for text in ax.texts] == ["dog", "cat", "✗ dog 30%", "✗ cat 70%", "✗ cat 80%", "✓ cat 90%"]
  assert legend(fig) == ["✓ found", "✗ false", "true", "missed"]
  size_of(fig)
  weak = figures.boxes(images, truth, predicted, ["cat", "dog"], score_limit=0.2)
  assert heading(weak) == "2 of 3 boxes found, 3 false, in this sample (scores of 0.2 and more)"


def test_a_true_box_is_found_once_by_the_best_score():
  truth = np.array([[0, 0, 0, 10, 10], [0, 0, 5, 10, 15]], np.float32)
  same = [0, 0, 0, 10, 10]
  predicted = np.array([[*same, 0.5], [*same, 0.9], [0, 0, 4, 10, 14, 0.7], [1, 0, 5, 10, 15, 0.8]], np.float32)
  np.testing.assert_array_equal(matches(truth, predicted), [-1, 0, 1, -1])
  half = np.array([[0, 0, 0, 10, 5, 0.5]], np.float32)  # IoU of exactly a half
  np.testing.assert_array_equal(matches(truth[:1], half), [0])
  np.testing.assert_array_equal(matches(truth[:1], half - [0, 0, 0, 0, 0.1, 0]), [-1])
  empty = np.array([[0, 5, 5, 5, 5]], np.float32)
  np.testing.assert_array_equal(matches(empty, np.array([[0, 5, 5, 5, 5, 1.0]])), [-1])  # no division by zero
  assert matches(truth[:0], predicted).tolist() == [-1] * 4
  assert matches(truth, predicted[:0]).tolist() == []


def test_boxes_beyond_the_image_are_cut_and_damaged_ones_left_out():
  images = np.zeros((1, 20, 30, 3), np.float32)
  predicted = np.array([[[0, -5, -5, 40, 50, 0.9], [0, np.nan, 0, 5, 5, 0.9], [0, 0, 0, 5, 5, np.nan]]], np.float32)
  fig = figures.boxes(images, None, predicted, ["cat"])
  assert drawn_boxes(fig.axes[0]) == [("predicted", -0.5, -0.5, 30, 20)]
  assert heading(fig) == "1 boxes in this sample (scores of 0.3 and more)"
  assert legend(fig) == ["predicted"]


@pytest.mark.parametrize("shape", [(1, 28, 28, 1), (3, 90, 21, 3), (22, 17, 80)])
@pytest.mark.parametrize("found", [0, 4])
def test_boxes_of_any_number_and_images_of_any_shape(shape, found):
  rng = np.random.default_rng(0)
  truth = np.full((shape[0], 1, 5), NONE, np.float32)
  if found:
    corner = rng.uniform(0, shape[1] - 6, (shape[0], found, 2))
    kinds = rng.integers(0, 20, (shape[0], found, 1))
    truth = np.concatenate([kinds, corner, corner + 6], 2).astype(np.float32)
  predicted = np.concatenate([truth[:, :found], rng.uniform(0, 1, (shape[0], found, 1))], 2).astype(np.float32)
  fig = figures.boxes(rng.uniform(size=shape), truth, predicted, LONG)
  shown = min(shape[0], 20)
  right = int((predicted[:shown, :, 5] >= 0.3).sum())
  assert heading(fig).startswith(f"{right} of {shown * found} boxes found, 0 false, in th")
  assert sum(len(ax.images) for ax in fig.axes) == shown
  size_of(fig)


# ---- masks -----------------------------------------------------------------------------------------------------------


def test_masks_are_painted_by_their_classes():
  images = np.full((2, 6, 8, 1), 0.5, np.float32)
  truth = np.zeros((2, 6, 8), np.uint8)
  truth[0, :2] = 1  # 16 pixels
  truth[1, 0, 0] = 255
  said = np.zeros((2, 8, 8), np.uint8)  # higher than the images
  said[0, 1:3] = 2  # 8 of the 16 are foreground too, and 8 are none
  said[1, 0, 0] = 2  # ignored
  said[:, 6:] = 3  # cut away
  fig = figures.masks(images, truth, said, ["background", "cat", "dog", "fox"])
  assert heading(fig) == "foreground IoU: 33.3% in these 2 samples"  # 8 of 24
  assert heading(fig).split()[2] == f"{100 * scores_of_masks(said, truth, 4)['foreground_IoU']:.1f}%"
  assert [ax.get_ylabel() for ax in fig.axes] == ["image", "truth", "prediction"]
  image, true, predicted = (np.asarray(ax.images[0].get_array()) for ax in fig.axes)
  gap = image.shape[1] - 16
  assert true.shape == predicted.shape == (6, 16 + gap, 3)
  cat, dog = (to_rgb(handle.get_facecolor()) for handle in fig.legends[0].get_patches()[:2])
  np.testing.assert_allclose(true[:2, :8], np.broadcast_to(cat, (2, 8, 3)), atol=1e-6)
  np.testing.assert_allclose(predicted[1:3, :8], np.broadcast_to(dog, (2, 8, 3)), atol=1e-6)
  np.testing.assert_allclose(true[2:, :8], 0.2, atol=1e-6)  # the image, darker
  striped = true[0, 8 + gap]
  assert striped[0] == striped[1] == striped[2] > 0.5
  assert legend(fig) == ["cat", "dog", "ignored"]
  size_of(fig)


def test_masks_without_truth_or_foreground():
  images, empty = np.zeros((3, 8, 8, 1)), np.zeros((3, 8, 8), np.uint8)
  fig = figures.masks(images, empty, empty, ["background", "cat"])
  assert heading(fig) == "foreground IoU: no foreground in these 3 samples"
  assert legend(fig) == []
  size_of(fig)
  fig = figures.masks(images[:1], None, empty[:1] + 1, ["background", "cat"])
  assert heading(fig) == "masks of this sample"
  assert [ax.get_ylabel() for ax in fig.axes] == ["image", "prediction"]
  assert legend(fig) == ["cat"]
  size_of(figures.masks(images[:0], empty[:0], empty[:0], ["background", "cat"]))


@pytest.mark.parametrize("shape", [(1, 28, 28, 1), (3, 90, 21, 3), (12, 17, 80)])
def test_masks_of_many_classes_with_long_names(shape):
  rng = np.random.default_rng(0)
  truth = rng.integers(0, 21, shape[:3]).astype(np.uint8)
  fig = figures.masks(rng.uniform(size=shape), truth, truth, ["background", *LONG])
  width, height = size_of(fig)
  assert len(legend(fig)) == 20
  assert width < 9 > height or shape[1] == 90
  colours = [to_hex(patch.get_facecolor()) for patch in fig.legends[0].get_patches()]
  assert len({*colours}) == 20
  alike = ["background", "cat", "cat", "cat"]
  assert legend(figures.masks(np.zeros((1, 2, 2)), None, np.array([[[1, 2], [3, 0]]]), alike)) == [
    "cat", "cat (2)", "cat (3)"
  ]  # fmt: skip


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_scatter_tells_how_far_predictions_are():
  truth = np.array([[0.0, 10.0], [2.0, 10.0], [4.0, 10.0]], np.float32)
  predicted = np.array([[1.0, 10.0], [2.0, 11.0], [4.0, 13.0]], np.float32)
  fig = figures.scatter(truth, predicted, ["mass", "age"])
  # mass: 1 - 1 / 8, one of three is off by 1; age does not vary
  assert [ax.get_title("left") for ax in fig.axes] == ["mass\nR2 0.875, MAE 0.333", "age\nR2 0.000, MAE 1.33"]
  assert float(fig.axes[0].get_title("left").split()[2].rstrip(",")) == score_of_numbers(predicted, truth)[0]
  for ax, column in zip(fig.axes, (0, 1), strict=True):
    dots, line = ax.lines
    np.testing.assert_array_equal(dots.get_xdata(), truth[:, column])
    np.testing.assert_array_equal(dots.get_ydata(), predicted[:, column])
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    assert ax.get_xlim() == ax.get_ylim() == tuple(line.get_xdata())
    assert ax.get_xlim()[0] < min(truth[:, column].min(), predicted[:, column].min())
    assert ax.get_xlim()[1] > max(truth[:, column].max(), predicted[:, column].max())
    assert ax.get_aspect() == 1
  assert (fig.get_supxlabel(), fig.get_supylabel()) == ("true", "predicted")
  size_of(fig)


@pytest.mark.parametrize(("n", "t", "panels"), [(1, 1, 1), (50, 5, 5), (3000, 3, 3), (2, 30, 24)])
def test_scatter_of_any_number_of_numbers(n, t, panels):
  truth = np.random.default_rng(0).normal(size=(n, t)) * np.logspace(-9, 9, t)
  names = [LONG[i % len(LONG)] for i in range(t)]
  fig = figures.scatter(truth, truth, names)
  with_lines = [ax for ax in fig.axes if ax.lines]
  assert len(with_lines) == panels
  assert all("MAE 0" in ax.get_title("left") for ax in with_lines)
  assert max(sum(ax.get_position().y0 == other.get_position().y0 for other in fig.axes) for ax in fig.axes) <= 4
  assert heading(fig) == ("the first 24 of 30 numbers" if t == 30 else "")
  size_of(fig)


def test_scatter_survives_what_is_no_number():
  size_of(figures.scatter(np.array([[1.0], [2.0]]), np.array([[np.nan], [np.inf]]), ["x"]))
  fig = figures.scatter(np.full((6, 1), 0.1), np.full((6, 1), 0.2), ["x"])  # the mean of six times 0.1 is not 0.1
  assert fig.axes[0].get_title("left") == "x\nR2 0.000, MAE 0.100"
  size_of(figures.scatter(np.zeros((0, 2)), np.zeros((0, 2)), ["x", "y"]))


# ---- several classes at once -----------------------------------------------------------------------------------------


def test_labels_are_told_as_right_wrong_and_missed():
  truth = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.uint8)
  sure = np.array([[0.9, 0.5, 0.1], [0.2, 0.2, 0.2], [0.0, 0.75, 0.49]], np.float32)
  fig = figures.labels(np.zeros((3, 8, 8, 1)), truth, sure, ["cat", "dog", "fox"])
  assert heading(fig) == "2 of 3 labels found, 1 false, in these 3 samples"
  told = [[(text.get_text(), text.get_color()) for text in ax.texts] for ax in fig.axes]
  assert told == [
    [("✗ dog (50%)", style.WRONG), ("missed: fox", style.WRONG), ("✓ cat (90%)", style.RIGHT)],
    [("✓ none of them", style.RIGHT)],
    [("✓ dog (75%)", style.RIGHT)],
  ]
  frames = [to_hex(ax.spines["left"].get_edgecolor()) for ax in fig.axes]
  assert frames == [style.WRONG, style.RIGHT, style.RIGHT]
  size_of(fig)


def test_mistakes_are_told_before_what_is_right():
  """Where there is no room for all, those that are left out are right ones."""
  truth = np.array([[1] * 18 + [0] * 2], np.uint8)
  sure = np.array([[0.8] * 16 + [0.2] * 2 + [0.9] * 2])
  fig = figures.labels(np.zeros((1, 8, 8)), truth, sure, [f"class {i}" for i in range(20)])
  texts = [text.get_text() for text in fig.axes[0].texts]
  assert texts == ["✗ class 18 (90%)", "✗ class 19 (90%)", "missed: class 16", "missed: class 17", "✓ class 0 (80%)",
                   "and 15 more"]  # fmt: skip
  assert heading(fig) == "16 of 18 labels found, 2 false, in this sample"


@pytest.mark.parametrize("shape", [(1, 28, 28, 1), (3, 90, 21, 3), (42, 17, 80)])
def test_lines_of_labels_do_not_run_into_the_next_sample(shape):
  rng = np.random.default_rng(0)
  truth = rng.integers(0, 2, (shape[0], 20))
  fig = figures.labels(rng.uniform(size=shape), truth, rng.uniform(size=truth.shape), LONG)
  canvas = FigureCanvasAgg(fig)
  canvas.draw()
  boxes = [[text.get_window_extent(canvas.get_renderer()) for text in ax.texts] for ax in fig.axes if ax.texts]
  assert len(boxes) == min(shape[0], 40)
  for i, one in enumerate(boxes):
    for other in boxes[i + 1 :]:
      assert not any(a.overlaps(b) for a in one for b in other)


# ---- by the task -----------------------------------------------------------------------------------------------------


def examples(name: str, n: int = 7):
  """(task, images of the first 4, y, answers) of n examples of a task."""
  rng = np.random.default_rng(0)
  task = TASKS[name](["background", "cat", "dog"] if name == "segmentation" else ["cat", "dog", "fox"])
  images = rng.uniform(size=(4, 16, 16, 3)).astype(np.float32)
  box = np.tile(np.array([[[1, 2, 2, 9, 9]]], np.float32), (n, 1, 1))
  y, answers = {
    "classification": (rng.integers(0, 3, n), rng.normal(size=(n, 3))),
    "multilabel": (rng.integers(0, 2, (n, 3)), rng.normal(size=(n, 3))),
    "regression": (rng.normal(size=(n, 3)), rng.normal(size=(n, 3))),
    "segmentation": (rng.integers(0, 3, (n, 16, 16)), rng.integers(0, 3, (n, 20, 20))),
    "detection": (box, np.concatenate([box, np.full((n, 1, 1), 0.8)], 2)),
  }[name]
  return task, images, y, answers


@pytest.mark.parametrize("name", ASKED)
def test_every_task_has_its_figures(name):
  """A new task needs an entry in DRAWN, empty where nothing of it is to be drawn."""
  task, images, y, answers = examples(name)
  made = figures.answers(task, images, y, answers)
  assert tuple(made) == figures.DRAWN[name]
  for fig in made.values():
    size_of(fig)
  assert [*map(heading, figures.answers(task, images, y, answers[:4]).values())] == [*map(heading, made.values())]


def test_figures_of_a_task_read_its_answers():
  task, images, y, logits = examples("classification")
  made = figures.answers(task, images, y, logits)
  sure = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  first = made["predictions"].axes[0].get_xlabel()
  assert f"{task.names[logits[0].argmax()]} ({100 * sure[0].max():.0f}%)" in first
  right = 100 * (logits.argmax(1) == y).mean()
  assert made["confusion"].axes[0].get_title("left") == f"accuracy: {right:.1f}% of 7"  # of all examples
  task, images, y, numbers = examples("regression")
  (dots, _) = figures.answers(task, images, y, numbers)["scatter"].axes[0].lines
  assert len(dots.get_xdata()) == 7
  task, images, y, logits = examples("multilabel")
  fig = figures.answers(task, images, y, logits)["labels"]
  there, said = y[:4] > 0, logits[:4] > 0
  assert heading(fig).startswith(f"{(there & said).sum()} of {there.sum()} labels found, {(said & ~there).sum()} false")
  task, images, y, found = examples("detection")
  assert heading(figures.answers(task, images, y, found)["boxes"]).startswith("4 of 4 boxes found, 0 false, in these 4")
  assert figures.answers(task._replace(name="other"), images, y, found) == {}
