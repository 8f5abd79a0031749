"""Pairs of words in the plane: every word stands there once, inside of its panel, and is not covered by others."""

import numpy as np
import pytest
from matplotlib.text import Annotation

from sslx.report.figures import save, word_pairs
from sslx.report.figures.words import Pairs


def panel(seed: int, n: int = 8, words=None) -> Pairs:
  """Pairs as relations are: words anywhere, their partners in one direction from them."""
  rng = np.random.default_rng(seed)
  start = rng.normal(size=(n, 2))
  names = words or [(f"word{i}", f"partner{i}") for i in range(n)]
  return Pairs(names, np.stack([start, start + [1.5, 0.5] + 0.2 * rng.normal(size=(n, 2))], 1))


def named(ax) -> dict[str, Annotation]:
  return {text.get_text(): text for text in ax.texts if isinstance(text, Annotation) and text.get_text()}


def overlap(first, second) -> float:
  sides = np.minimum(first.max, second.max) - np.maximum(first.min, second.min)
  return float(np.prod(np.maximum(sides, 0)))


@pytest.mark.parametrize("seed", range(4))
def test_names_hardly_cover_each_other_and_stay_in_their_panels(seed):
  fig = word_pairs({"a": panel(seed), "b": panel(seed + 10)}, "pairs")
  fig.draw_without_rendering()
  for ax in fig.axes:
    texts = named(ax)
    assert len(texts) == 16
    boxes = [text.get_window_extent() for text in texts.values()]
    areas = sum(box.width * box.height for box in boxes)
    covered = sum(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert covered < 0.06 * areas
    frame = ax.get_window_extent()
    assert all(overlap(box, frame) > 0.97 * box.width * box.height for box in boxes)


def test_a_long_name_stands_where_there_is_room_for_it():
  start = np.array([[0, 0], [0, 1], [0, 2], [0, 3.0]])
  words = [(f"representations{i}", f"parametrization{i}") for i in range(4)]
  fig = word_pairs({str(i): Pairs(words, np.stack([start, start + np.array([0.4, 0])], 1)) for i in range(3)}, "long")
  fig.draw_without_rendering()
  for ax in fig.axes:
    frame = ax.get_window_extent()
    boxes = [text.get_window_extent() for text in named(ax).values()]
    assert all(overlap(box, frame) > 0.97 * box.width * box.height for box in boxes)


def test_a_name_stands_beside_its_own_dot():
  pairs = panel(3)
  fig = word_pairs({"a": pairs}, "pairs")
  fig.draw_without_rendering()
  (ax,) = fig.axes
  dots = ax.transData.transform(pairs.points.reshape(-1, 2))
  for dot, name in zip(dots, [word for pair in pairs.words for word in pair], strict=True):
    box = named(ax)[name].get_window_extent()
    gap = np.maximum(0, np.maximum(box.min - dot, dot - box.max))
    assert np.hypot(*gap) < 22  # pixels of 100 an inch


def test_a_word_of_two_pairs_is_named_once_and_names_are_no_mathematics():
  pairs = panel(0, 4, [("usa", "dollar"), ("canada", "dollar"), ("x$y$", "b"), ("long" * 20, "_")])
  fig = word_pairs({"currency $1$": pairs}, "$")
  fig.draw_without_rendering()
  (ax,) = fig.axes
  texts = [text.get_text() for text in ax.texts if text.get_text()]
  assert sorted(texts) == sorted(["usa", "dollar", "canada", r"x\$y\$", "b", "longlonglonglon…", "_"])


def test_an_empty_figure_says_so_and_many_panels_stand_in_rows(tmp_path):
  assert save(word_pairs({}, "none"), tmp_path / "none.png").exists()
  fig = word_pairs({str(i): panel(i, 4) for i in range(4)}, "four")
  assert [ax.axison for ax in fig.axes] == [True] * 4 + [False] * 2
