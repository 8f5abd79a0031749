"""What a space is sorted by: closed forms of neighbours and silhouettes, maps of known points, the page."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from sslx.interpret import maps, spaces
from sslx.interpret.spaces import Classes, Space
from sslx.report import figures, sounds

RNG = np.random.default_rng(0)


def fan(degrees: list[float]) -> np.ndarray:
  """f32 [N,2]: directions, of different lengths, which the cosine does not see."""
  angles = np.deg2rad(degrees)
  return (np.stack([np.cos(angles), np.sin(angles)], 1) * np.linspace(1, 9, len(angles))[:, None]).astype(np.float32)


def test_one_neighbour_of_known_points():
  features, y = fan([0, 1, 10, 12, 50, 51.5]), np.array([0, 0, 1, 0, 1, 1])
  # nearest others: 1, 0, 3, 2, 5, 4; of these the middle two are of the other class
  assert spaces.leave_one_out(features, y, 1) == pytest.approx(4 / 6)


def test_most_neighbours_decide_and_ties_go_to_the_nearer():
  assert spaces.leave_one_out(fan([0, 1, 2.5, 4.5]), np.array([0, 0, 1, 1]), 3) == 0  # two of three are of the other
  y = np.array([1, 0, 1, 1, 0])
  # each of the outer two has one of each class beside it, the nearer of which is of the other class
  assert spaces.leave_one_out(fan([0, 1, 3, 50, 52]), y, 2) == pytest.approx(
    np.mean([0 == 1, 1 == 0, 0 == 1, 0 == 1, 1 == 0])
  )


def test_more_neighbours_than_there_are_others():
  assert spaces.leave_one_out(fan([0, 1, 2]), np.array([0, 0, 0]), 5) == 1


def test_pure_classes_are_found_and_noise_is_not():
  y = np.arange(300) % 6
  apart = np.eye(6)[y] + 0.05 * RNG.normal(size=(300, 6))
  assert spaces.leave_one_out(apart, y) == 1
  assert spaces.silhouette(apart, y) > 0.9
  noise = RNG.normal(size=(300, 20))
  assert abs(spaces.leave_one_out(noise, y) - 1 / 6) < 0.08
  assert spaces.silhouette(noise, y) < 0.02


def test_the_silhouette_is_that_of_scikit_learn():
  y = RNG.integers(0, 4, 60)
  y[0] = 4  # a class of one, which counts as 0
  features = RNG.normal(size=(60, 5)) + 2 * np.eye(5)[y]
  assert spaces.silhouette(features, y) == pytest.approx(silhouette_score(features, y, metric="cosine"), abs=1e-6)
  assert spaces.silhouette(features, np.zeros(60, int)) == 0


def test_what_a_guess_is_right_of():
  assert spaces.most_frequent(np.array([2, 2, 0, 5])) == 0.5


def by_two(count: int) -> dict[str, Classes]:
  names = ("ann", "$bob$", "cy")
  return {"speaker": Classes(np.arange(count) % 3, names), "digit": Classes(np.arange(count) // 6 % 10, "0123456789")}


def test_points_are_where_the_map_has_them_and_in_a_colour_and_shape_of_their_class():
  points = {"PCA": RNG.normal(size=(60, 2)).astype(np.float32), "t-SNE": RNG.normal(size=(60, 2)).astype(np.float32)}
  by = by_two(60)
  fig = spaces.coloured("simclr", points, by)
  assert len(fig.axes) == 4
  for ax, (how, classes) in zip(fig.axes, [(p, c) for c in by.values() for p in points], strict=True):
    looks = set()
    for i, group in enumerate(ax.collections):
      np.testing.assert_allclose(group.get_offsets(), points[how][classes.y == i], rtol=1e-6)
      looks.add((tuple(group.get_facecolors()[0]), group.get_paths()[0].vertices.tobytes()))
    assert len(looks) == len(classes.names)
  legends = [[text.get_text() for text in ax.get_legend().texts] for ax in fig.axes if ax.get_legend()]
  assert legends == [["ann", r"\$bob\$", "cy"], list("0123456789")]


def test_many_classes_have_no_legend_and_features_may_have_one_dimension():
  classes = Classes(np.arange(50), [f"s{i}" for i in range(50)])
  fig = spaces.coloured("x", {"PCA": np.zeros((50, 1))}, {"speaker": classes})
  assert [ax.get_legend() for ax in fig.axes] == [None]


def test_known_points_keep_their_distances_in_the_plane():
  plane = RNG.normal(size=(40, 2)) * [3, 1]
  turned, _ = np.linalg.qr(RNG.normal(size=(6, 6)))
  points, share = maps.pca((plane @ turned[:2] + 5).astype(np.float32))
  assert share[:2].sum() == pytest.approx(1, abs=1e-5)

  def apart(x):
    return np.linalg.norm(x[:, None] - x[None], axis=-1)

  np.testing.assert_allclose(apart(points), apart(plane), atol=1e-3)


def curve(row: dict[str, float]) -> list[np.ndarray]:
  fig = spaces.ahead(row)
  assert fig is not None
  return [np.asarray(line.get_xydata()) for line in fig.axes[0].lines]


def test_the_accuracy_of_each_step_ahead_and_chance():
  row = {f"accuracy_{k}": 1 / k for k in range(1, 13)} | {"chance": 0.01, "accuracy": 0.5}
  line, chance = curve(row)
  np.testing.assert_allclose(line, [[k, 100 / k] for k in range(1, 13)])
  np.testing.assert_allclose(chance[:, 1], 1)
  held = {f"heldout_{name}": value / 2 for name, value in row.items()}
  line, chance = curve(row | held)
  np.testing.assert_allclose(line[:, 1], [50 / k for k in range(1, 13)])
  np.testing.assert_allclose(chance[:, 1], 0.5)
  assert len(curve({name: value for name, value in row.items() if name != "chance"})) == 1
  for other in ({}, {"loss": 1.0, "accuracy": 0.5}, {"accuracy_1": 0.5}):
    assert spaces.ahead(other) is None


def test_the_page_holds_table_maps_curve_and_sounds(tmp_path):
  picture = figures.save(figures.picture_rows({"a": np.zeros((2, 4, 10))}), tmp_path / "run" / "pretext.png")
  sounds.write(picture, "By ear.", {"recording": [np.zeros(80)]}, 8000)
  y = np.arange(60) % 3
  found = [Space(name, "time5", np.eye(3)[y] + 0.01 * RNG.normal(size=(60, 3))) for name in ("simclr", "raw")]
  history = [{"step": 1, "accuracy_1": 0.9, "accuracy_2": 0.5, "chance": 0.1}]
  page, told = spaces.write(
    tmp_path, found, by_two(60), "Title", "Subtitle", "python -m x", history, picture, 0, True, lambda text: None
  )
  text = page.read_text()
  assert text.count("<img") == 2 + 1 + 1
  assert text.count("<audio") == 1
  assert "Smoke run" in text
  cells = told[0].cells
  assert cells.headers == [
    "features", "reading", "dimensions", "speaker %", "speaker silhouette", "digit %", "digit silhouette",
  ]  # fmt: skip
  assert cells.rows[0][:4] == ["simclr", "time5", "3", "100.0"]
  assert cells.rows[-1] == ["chance", "", "", "33.3", "", "10.0", ""]
  names = {path.name for path in (tmp_path / "figures").iterdir()}
  assert names == {"space_1.png", "space_2.png", "ahead.png"}


def test_without_scikit_learn_the_page_says_so(tmp_path, monkeypatch):
  monkeypatch.setattr(maps, "tsne", lambda features, seed: None)
  found = [Space("a", "time1", RNG.normal(size=(60, 4)))]
  page, told = spaces.write(
    tmp_path, found, by_two(60), "t", "s", "c", [], tmp_path / "none.png", 0, False, lambda text: None
  )
  assert "t-SNE is left out" in str(told[1])
  assert "t-SNE is left out" in page.read_text()
  assert page.read_text().count("<img") == 1
