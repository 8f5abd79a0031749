"""sslx.interpret.gallery: which figures a method gets, of a method with a decoder and of one without."""

import sys

import jax
import numpy as np
import pytest

from sslx import interpret, nn
from sslx.interpret import figures as interpret_figures
from sslx.interpret import filters, gallery, walks
from sslx.modalities.image import IMAGE
from sslx.pretext import build
from sslx.report import pages
from sslx.report.pages import Figure
from sslx.tasks import TASKS
from sslx.types import UserError

NAMES = ("row", "column", "cross")
CONFIG = {"x_shape": (8, 7, 1), "hp": {"level": 0.1}, "seed": 0}
ALWAYS = {"filters.png", "code.png", "maps.png", "neighbours.png", "report.html"}
DECODED = {"reconstructions.png", "walks.png", "interpolation.png", "walk.gif", "sliders.html"}


def seen(folder, method="autoencode", spec="mlp:widths=9,code=4", hp=None, classes=True, count=40, **changes):
  """An untrained method and 40 images of noise."""
  encoder = nn.build(spec)
  pretext = build(method, encoder, hp or {}, TASKS["classification"](NAMES))
  images = np.random.default_rng(0).random((count, 8, 7, 1), np.float32)
  params, state = jax.jit(pretext.init)(jax.random.key(0), {"x": images})
  representation = nn.Representation(encoder, "flatten", params["encoder"], state["encoder"], IMAGE.prepare)
  codes = np.asarray(interpret.reader(representation)(images))
  stats = interpret.statistics(interpret.amplitudes(codes), codes.ndim == 4)
  decode = walks.decoder(pretext.decode, params, state, (8, 7, 1)) if pretext.decode else None
  labels = np.arange(count) % 3 if classes else None
  lines = []
  given = gallery.Seen(
    method, "toy", spec, encoder.block_names, params, images, labels, NAMES, {}, codes,
    np.asarray(representation(images)), stats, [], decode, 0, folder, lines.append,
  )  # fmt: skip
  return given._replace(**changes)


def compared(given, folder="a", **changes):
  return gallery.compared(folder, given.params["encoder"], given.block_names[0], {**CONFIG, **changes})


def files(folder):
  return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_method_with_a_decoder_gets_all_figures(tmp_path):
  given = seen(tmp_path, hp={"decoder_widths": None}, dims=[3, 0])
  shown = {"original": given.images[:3], "noisy": given.images[:3]}
  runs = [compared(given), compared(given, "b", hp={"level": 0.6})]
  left_out = gallery.write(given._replace(shown=shown), runs, "subtitle", "python -m x", {"Images": "40"})
  assert left_out == []
  assert files(tmp_path) == ALWAYS | DECODED | {"pretext.png", "decoder_units.png", "compare.png"}
  page = (tmp_path / "report.html").read_text()
  for part in ("What autoencode learnt on toy", "4 units", "Your browser decodes", "python", "Mean squared error"):
    assert part in page
  assert page.count("data:image/") == len([name for name in files(tmp_path) if name.endswith(("png", "gif"))])


def test_walks_along_many_maps_take_several_figures(tmp_path):
  gallery.write(seen(tmp_path, spec="conv:widths=4-6", dims=[0, 1, 2, 3, 4], classes=False), [], "", "", {})
  assert files(tmp_path) == (ALWAYS | DECODED | {"walks_1.png", "walks_2.png"}) - {"walks.png"}
  page = (tmp_path / "report.html").read_text()
  assert "6 maps of 2x2" in page
  assert "which the method never saw" not in page  # there are no classes to see
  assert "query&#39;s class" not in page


def test_what_needs_a_decoder_or_scikit_learn_is_left_out(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
  left_out = gallery.write(seen(tmp_path, "rotation", "conv:widths=4-6"), [], "", "", {})
  assert files(tmp_path) == ALWAYS
  assert [sentence.split(":")[0] for sentence in left_out] == ["rotation has no decoder", "t-SNE is left out"]
  page = (tmp_path / "report.html").read_text()
  assert "rotation has no decoder" in page
  assert "sslx[maps]" in page
  assert "coloured by class, which the method never saw" in page


def test_one_image_is_enough(tmp_path):
  left_out = gallery.write(seen(tmp_path, count=1), [], "", "", {})
  assert files(tmp_path) == (ALWAYS | DECODED) - {"neighbours.png", "interpolation.png"}
  assert len(left_out) == 1  # t-SNE


def test_start_images_are_of_different_classes(tmp_path):
  given = seen(tmp_path)._replace(classes=np.repeat([1, 0, 2], [20, 15, 5]))
  assert gallery.starts(given, 4).tolist() == [0, 20, 35, 1]
  assert gallery.starts(given._replace(classes=None), 3).tolist() == [0, 1, 2]


def test_images_without_a_label_say_nothing_of_classes(tmp_path, monkeypatch):
  given = seen(tmp_path)
  labels = given.classes.copy()
  labels[::4] = -1
  half = given._replace(classes=labels)
  assert set(labels[gallery.starts(half, 3)]) == {0, 1, 2}
  drawn, draw = [], interpret_figures.neighbours
  monkeypatch.setattr(gallery.figures, "neighbours", lambda *given: drawn.append(given) or draw(*given))
  (figure,) = gallery.neighbours(half)
  _, _, same, names = drawn[0]
  known = np.array([[row[0] != "" and name != "" for name in row[1:]] for row in names])
  assert {name for row in names for name in row} == {"", *NAMES}
  right = np.array([[name == row[0] for name in row[1:]] for row in names])
  np.testing.assert_array_equal(same, right | ~known)
  assert f"Of those whose class is known, {100 * right[known].mean():.0f}% are of the query's class" in figure.caption
  assert "grey: without a label" in gallery.class_maps(half)[0].caption
  assert "grey" not in gallery.class_maps(given)[0].caption


def test_runs_of_one_name_have_their_folders_behind_it(tmp_path, monkeypatch):
  groups = []
  monkeypatch.setattr(gallery.figures, "filters", lambda drawn, *how: groups.append(list(drawn)))
  monkeypatch.setattr(gallery, "save", lambda figure, path: path)
  given = seen(tmp_path)
  list(gallery.first_layer(given, None, [compared(given), compared(given, "b"), compared(given, "c", seed=1)]))
  assert groups[-1] == ["seed=0", "seed=0 (b)", "seed=1"]
  assert filters.differences([CONFIG]) == [""]


def test_gallery_refuses_what_is_no_picture(tmp_path):
  (tmp_path / "a.gif").write_bytes(b"GIF87a")
  with pytest.raises(UserError, match=r"a\.gif"):
    pages.write_gallery(tmp_path / "r.html", "t", "s", "c", {}, [], [Figure("a", "b", tmp_path / "a.gif")], [])
