"""What interpret draws is what the model says: exported decoders, walks, statistics and maps against naive references."""

import base64
import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import BROWSER, seen_by_browser

from experiments import interpret, pretrain
from experiments.shared import cli as common
from sslx import interpret as pure
from sslx import nn
from sslx.compile import jit
from sslx.interpret import figures as figures_code
from sslx.interpret import sliders as decoder_page
from sslx.pretext import build
from sslx.pretext.families import common as pretext_common
from sslx.report import pages

MAINS = {"interpret": interpret.main, "pretrain": pretrain.main}


def call(name: str, *arguments: str) -> int:
  return common.run(MAINS[name], f"experiments.{name}", [name, *arguments])


# ---- pure functions --------------------------------------------------------------------------------------------------


def test_amplitude_is_the_value_of_largest_magnitude_with_its_sign():
  codes = np.zeros((2, 2, 3, 2), np.float32)
  codes[0, 1, 2, 0], codes[0, 0, 0, 0] = -5, 4
  codes[1, 0, 1, 1] = 3
  np.testing.assert_array_equal(pure.amplitudes(codes), [[-5, 0], [0, 3]])
  flat = np.float32([[1, -2], [-3, 4]])
  np.testing.assert_array_equal(pure.amplitudes(flat), flat)


def test_statistics_of_known_units():
  n = 50
  r = np.zeros((n, 4), np.float32)
  r[:, 0] = 2  # excited alike by every image: sparsity 0, and dead, since it says nothing
  r[7, 1] = 2  # by one image only: sparsity 1
  r[: n // 2, 2] = -2  # by half of them: (1 - 1/2) / (1 - 1/n)
  stats = pure.statistics(r)  # unit 3: never
  np.testing.assert_allclose(stats.sparsity, [0, 1, 0.5 / (1 - 1 / n), 1], atol=1e-12)
  np.testing.assert_allclose(stats.activity, [1, 1 / n, 0.5, 0])
  np.testing.assert_array_equal(stats.dead, [True, False, False, True])
  assert stats.population[7] == 3 / 4
  assert stats.population[n - 1] == 1 / 4
  assert pure.widest(stats, 3) == [2, 1]


def test_sparsity_does_not_depend_on_the_scale_of_the_code():
  r = np.random.default_rng(0).exponential(size=(200, 6)) * (np.random.default_rng(1).random((200, 6)) < 0.3)
  one, other = pure.statistics(r.astype(np.float32)), pure.statistics((37 * r).astype(np.float32))
  np.testing.assert_allclose(one.sparsity, other.sparsity, rtol=1e-5)
  np.testing.assert_array_equal(one.activity, other.activity)


def test_walks_along_maps_begin_at_silence():
  r = np.linspace(2, 5, 101, dtype=np.float32)[:, None] * np.float32([1, -1])
  stats = pure.statistics(r)
  np.testing.assert_allclose([stats.low, stats.high], [[2.03, -4.97], [4.97, -2.03]], atol=1e-5)
  stats = pure.statistics(r, maps=True)
  np.testing.assert_allclose([stats.low, stats.high], [[0, -4.97], [4.97, 0]], atol=1e-5)


def test_all_zero_code_is_dead_and_finite():
  stats = pure.statistics(np.zeros((5, 3), np.float32))
  assert stats.dead.all()
  assert np.isfinite(stats.sparsity).all()
  assert pure.widest(stats, 4) == [0]


def test_set_unit_changes_that_unit_alone():
  code = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
  amplitude = pure.amplitudes(code[None])[0, 2]
  out = pure.set_unit(code, 2, [amplitude, 2 * amplitude, 0], 0)
  others = [0, 1, 3, 4]
  np.testing.assert_array_equal(out[..., others], np.broadcast_to(code[..., others], (3, 3, 4, 4)))
  np.testing.assert_allclose(out[0], code, rtol=1e-6)  # at its own amplitude nothing changes
  np.testing.assert_allclose(out[1][..., 2], 2 * code[..., 2], rtol=1e-6)
  assert (out[2][..., 2] == 0).all()
  flat = pure.set_unit(np.float32([1, 2, 3]), 1, [7, -7], 0)
  np.testing.assert_array_equal(flat, [[1, 7, 3], [1, -7, 3]])


def test_a_silent_map_is_set_where_it_is_strongest_on_average():
  codes = np.zeros((4, 2, 2, 2), np.float32)
  codes[1:, 1, 0, 1] = 2
  codes[1, 0, 1, 1] = 5  # stronger once, weaker on average
  places = pure.places(codes)
  assert places.tolist() == [0, 2]
  out = pure.set_unit(codes[0], 1, [3], places[1])
  assert out[0, 1, 0, 1] == 3
  assert np.count_nonzero(out) == 1


def test_sweep_keeps_images_and_steps_apart():
  codes = np.arange(6, dtype=np.float32).reshape(2, 3)
  got = pure.sweep(lambda c: c.reshape(len(c), 1, 3, 1), codes, 1, np.float32([10, 20]), 0)
  np.testing.assert_array_equal(got[:, :, 0, :, 0], [[[0, 10, 2], [0, 20, 2]], [[3, 10, 5], [3, 20, 5]]])


def test_interpolation_and_tour():
  a, b = np.float32([0, 4]), np.float32([8, 0])
  np.testing.assert_allclose(pure.between(a, b, 5), [[0, 4], [2, 3], [4, 2], [6, 1], [8, 0]])
  path = pure.tour(np.stack([a, b]), 4)
  assert len(path) == 8
  np.testing.assert_array_equal(path[0], a)
  np.testing.assert_array_equal(path[4], b)
  assert np.abs(np.diff(np.concatenate([path, path[:1]]), axis=0)).max() <= 2  # it closes, and nothing jumps


@pytest.mark.parametrize("shape", [(40, 7), (12, 30)])
def test_pca_is_the_singular_value_decomposition(shape):
  x = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[1])
  points, share = pure.pca(x.astype(np.float32), 3)
  u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
  np.testing.assert_allclose(np.abs(points), np.abs(u * s)[:, :3], atol=1e-3)
  np.testing.assert_allclose(share, (s**2 / (s**2).sum())[:3], rtol=1e-4)
  for column in points.T:
    assert column[np.abs(column).argmax()] > 0


def test_tsne_keeps_clusters_together():
  rng = np.random.default_rng(0)
  labels = np.arange(60) % 3
  x = (10 * np.eye(3)[labels] @ rng.normal(size=(3, 8)) + rng.normal(size=(60, 8))).astype(np.float32)
  points = pure.tsne(x, 0)
  assert points is not None
  assert points.shape == (60, 2)
  squared = np.square(points[:, None] - points[None]).sum(-1) + 1e9 * np.eye(60)
  assert (labels[squared.argmin(1)] == labels).mean() > 0.95


def test_tsne_says_when_scikit_learn_is_missing(monkeypatch):
  monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
  assert pure.tsne(np.zeros((5, 2), np.float32), 0) is None


def test_neighbours_by_cosine_without_the_query():
  x = np.float32([[1, 0], [5, 0.1], [0, 2], [0.1, 3], [-1, 0]])
  np.testing.assert_array_equal(pure.neighbours(x, [0, 2], 2), [[1, 3], [3, 1]])


def test_first_filters_of_dense_and_convolutional_encoders():
  """A unit that is excited by one pixel has its weight there; a kernel is drawn as it lies on the image."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(1, 5, 4, 3)).astype(np.float32)
  dense = nn.build("mlp:widths=6,code=0")
  params, stats = nn.init(dense, jax.random.key(0), image)
  drawn = pure.first_filters(params, "dense1", (5, 4, 3))
  out = nn.apply(dense, params, stats, image)[0]["dense1"]
  np.testing.assert_allclose(np.maximum((drawn * image).sum((1, 2, 3)), 0), out[0], atol=1e-5)
  conv = nn.build("conv:widths=6,kernel=3,down=none")
  params, stats = nn.init(conv, jax.random.key(0), image)
  drawn = pure.first_filters(params, "block1", (5, 4, 3))
  out = nn.apply(conv, params, stats, image)[0]["block1"]
  np.testing.assert_allclose(np.maximum((drawn * image[0, 1:4, :3]).sum((1, 2, 3)), 0), out[0, 2, 1], atol=1e-5)
  vit = nn.build("vit:width=8,depth=1,heads=2,patch=2")
  params, stats = nn.init(vit, jax.random.key(0), image)
  patches = pure.first_filters(params, "patches", (5, 4, 3))
  assert patches.shape == (8, 2, 2, 3)
  out = nn.apply(vit, params, stats, image)[0]["patches"] - nn.apply(vit, params, stats, 0 * image)[0]["patches"]
  np.testing.assert_allclose((patches * image[0, 2:4, :2]).sum((1, 2, 3)), out[0, 1, 0], atol=1e-5)
  split = nn.build("split:widths=6")
  params, _ = nn.init(split, jax.random.key(0), image)
  assert pure.first_filters(params, "block1", (5, 4, 3)).shape == (3, 3, 3, 1)  # of lightness
  norms = np.linalg.norm(drawn.reshape(6, -1), axis=1)[pure.strongest(drawn)]
  assert (np.diff(norms) <= 0).all()


def test_labels_of_runs_say_what_differs():
  base = {"method": "denoise", "seed": 0, "data_crc32": 1, "hp": {"level": 0.1, "noise": "masking"}}
  other = {**base, "data_crc32": 2, "hp": {"level": 0.5, "noise": "masking"}}
  assert pure.differences([base, other]) == ["level=0.1", "level=0.5"]
  assert pure.differences([base, {**base, "seed": 3}]) == ["seed=0", "seed=3"]
  assert pure.differences([base, {**base, "data_crc32": 2}]) == ["", ""]


# ---- the exported decoder --------------------------------------------------------------------------------------------

CASES = {  # name: (encoder, hyper-parameters, image shape)
  "mlp": ("mlp:widths=9-7,code=5", {}, (6, 5, 3)),
  "mlp single layer": ("mlp:widths=9,code=5", {"decoder_widths": None}, (6, 5, 1)),
  "mlp linear output": ("mlp:widths=9,code=5", {"output": "linear", "loss": "mse"}, (6, 5, 1)),
  "mlp on maps": ("conv:widths=4-6", {"decoder": "mlp", "decoder_widths": (8,)}, (7, 9, 1)),
  "tied": ("mlp:widths=9-7,code=5", {"decoder": "tied"}, (6, 5, 1)),
  "conv": ("conv:widths=4-6-5,code=3", {}, (13, 10, 3)),
  "conv on maps": ("conv:widths=4-6", {}, (11, 10, 1)),
  "conv on maps of another size": ("rotnet", {}, (28, 28, 1)),
  "dictionary": ("conv:widths=4,kernel=5,down=none", {"decoder_widths": None}, (9, 7, 3)),
  "dictionary with a stride": ("conv:widths=4-5", {"decoder_widths": None}, (13, 12, 1)),
}


@functools.cache
def small(case: str):
  """(encoder, params, images u8 [6,...], codes, decode, image shape) of an untrained autoencoder with larger weights."""
  spec, hp, shape = CASES[case]
  encoder = nn.build(spec)
  pretext = build("autoencode", encoder, "flatten", 2, hp)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (6, *shape), dtype=np.uint8)
  params, state = pretext.init(jax.random.key(1), {"image": images})
  params = jax.tree.map(lambda leaf: 1.5 * leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), params)
  outputs = nn.apply(encoder, params["encoder"], state["encoder"], images / np.float32(255))[0]
  codes = np.asarray(pretext_common.last({name: outputs[name] for name in encoder.block_names}))
  codes = codes / codes.std()
  assert pretext.decode
  decode = jit(functools.partial(pretext.decode, params, state, image_shape=shape))
  return encoder, params, images, codes, lambda some: np.asarray(decode(some)), shape


@pytest.mark.parametrize("case", CASES)
def test_exported_layers_say_what_decode_says(case):
  encoder, params, _, codes, decode, shape = small(case)
  layers = decoder_page.export(params, encoder.block_names, codes.shape[1:], shape)
  assert layers
  output = CASES[case][1].get("output", "sigmoid")
  assert decoder_page.faithful(layers, decode, codes) == output
  wanted = decode(codes)
  got = np.stack([decoder_page.run_layers(layers, output, code) for code in codes])
  assert wanted.std() > 0.02  # pictures, not a constant
  np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_decoder_of_other_layers_is_not_exported():
  encoder, params, _, codes, decode, shape = small("mlp")
  export = decoder_page.export
  assert export({"encoder": params["encoder"]}, encoder.block_names, (5,), shape) is None
  assert export({**params, "decoder": {"Magic_0": {}}}, encoder.block_names, (5,), shape) is None
  layers = export(params, encoder.block_names, (5,), shape)
  assert layers
  assert decoder_page.faithful(layers, lambda codes: decode(codes[:, ::-1]), codes) is None  # recognised, yet other


@pytest.mark.parametrize("case", ["mlp single layer", "dictionary", "dictionary with a stride"])
def test_unit_images_are_what_a_unit_adds(case):
  """Of a linear decoder: decoded with the unit on, less decoded with all units off, before the sigmoid."""
  encoder, params, _, codes, decode, shape = small(case)
  layers = decoder_page.export(params, encoder.block_names, codes.shape[1:], shape)
  assert layers
  drawn = decoder_page.unit_images(layers)
  assert drawn is not None
  off = np.zeros_like(codes[:1])
  on = off.copy()
  middle = tuple(n // 2 for n in codes.shape[1:-1])
  on[(0, *middle, 1)] = 1

  def raw(code: np.ndarray) -> np.ndarray:
    image = decode(code)[0].astype(np.float64)
    return np.log(image / (1 - image))

  added = raw(on) - raw(off)
  if codes.ndim == 2:
    np.testing.assert_allclose(added, drawn[1], atol=1e-4)
  else:  # the kernel, cut at the image's edges
    size, (stride, _), (before, _) = drawn.shape[1], layers[0]["stride"], layers[0]["before"]
    canvas = np.zeros((3 * size + shape[0], 3 * size + shape[1], shape[2]))
    y, x = (
      m * stride + before - size + 1 + size for m in middle
    )  # of the canvas, which starts `size` before the image
    canvas[y : y + size, x : x + size] = drawn[1]
    np.testing.assert_allclose(added, canvas[size : size + shape[0], size : size + shape[1]], atol=1e-4)


def test_unit_images_only_of_single_layers():
  encoder, params, _, _, _, shape = small("mlp")
  layers = decoder_page.export(params, encoder.block_names, (5,), shape)
  assert layers
  assert decoder_page.unit_images(layers) is None


def write(case: str, path: Path, whole: bool = True):
  """A page of sliders for a small autoencoder; (its model, images, codes, units, stats, places, decode, sentence)."""
  encoder, params, images, codes, decode, shape = small(case)
  layers = decoder_page.export(params, encoder.block_names, codes.shape[1:], shape) if whole else None
  stats, places = pure.statistics(pure.amplitudes(codes), codes.ndim == 4), pure.places(codes)
  units = pure.widest(stats, 3)
  output = CASES[case][1].get("output", "sigmoid")
  how = decoder_page.write_page(
    path, "<b>Title", "Subtitle", decode, layers, output, images, codes, units, stats, places
  )
  page = path.read_text()
  found = re.search(r'<script type="application/json" id="model">(.*?)</script>', page, re.DOTALL)
  assert found
  assert "<b>Title" not in page
  return json.loads(found[1]), codes, units, stats, places, decode, how


def test_frames_where_the_decoder_cannot_be_exported(tmp_path):
  model, codes, units, _, places, decode, how = write("conv on maps", tmp_path / "page.html", whole=False)
  assert "beforehand" in how
  assert "layers" not in model
  frames = np.frombuffer(base64.b64decode(model["frames"]["data"]), np.uint8)
  frames = frames.reshape(len(codes), len(units), model["steps"], *model["shape"])
  place = model["units"][1]
  value = np.linspace(place["low"], place["high"], model["steps"])[4]
  wanted = decode(pure.set_unit(codes[2], units[1], [value], places[units[1]]))[0]
  assert np.abs(frames[2, 1, 4] / 255 - wanted).max() <= 0.51 / 255


def test_a_large_decoder_becomes_frames(tmp_path, monkeypatch):
  monkeypatch.setattr(decoder_page, "LIMIT", 2000)
  model, codes, *_, how = write("mlp", tmp_path / "page.html")
  assert "weights take" in how
  assert 1 <= model["count"] < len(codes)
  assert (tmp_path / "page.html").stat().st_size < 60_000


NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="no node to run the page's decoder in")
@pytest.mark.parametrize("case", CASES)
def test_the_pages_javascript_decodes_the_same(case, tmp_path):
  assert NODE
  model, codes, _, _, _, decode, how = write(case, tmp_path / "page.html")
  assert "Your browser decodes" in how
  page = (tmp_path / "page.html").read_text()
  script = re.search(r'<script id="decoder">(.*?)</script>', page, re.DOTALL)
  assert script
  (tmp_path / "model.json").write_text(json.dumps(model))
  (tmp_path / "run.js").write_text(
    f"""{script[1]}
const model = JSON.parse(require("fs").readFileSync({json.dumps(str(tmp_path / "model.json"))}));
const codes = unpack(model.codes), n = codes.length / model.count, out = [];
for (let b = 0; b < model.count; b++)
  out.push([...decode(model.layers.map(load), model.output, {{ data: codes.slice(b * n, b * n + n), shape: model.code }})]);
console.log(JSON.stringify(out));
"""
  )
  done = subprocess.run([NODE, str(tmp_path / "run.js")], capture_output=True, text=True, check=True)
  np.testing.assert_allclose(np.array(json.loads(done.stdout)).reshape(decode(codes).shape), decode(codes), atol=1e-5)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to open the page in")
@pytest.mark.parametrize(
  ("case", "whole"), [("mlp", True), ("tied", True), ("conv", True), ("conv on maps", True), ("mlp", False)]
)
def test_the_browser_draws_what_decode_says(case, whole, tmp_path):
  """The picture after choosing an image, after moving sliders, after a reset: read back from the canvas."""
  page = tmp_path / "page.html"
  model, codes, units, _, places, decode, _ = write(case, page, whole)
  ends = [model["units"][0]["high"], model["units"][1]["low"]]
  script = f"""
const seen = [];
function look() {{
  const {{ data }} = picture.getContext("2d").getImageData(0, 0, width, height);
  const out = [];
  for (let p = 0; p < width * height; p++) for (let c = 0; c < channels; c++) out.push(data[4 * p + c]);
  seen.push(out);
}}
function slide(k, value) {{ sliders[k].input.value = value; sliders[k].input.dispatchEvent(new Event("input")); }}
document.getElementById("starts").children[1].click(); look();
slide(0, {ends[0]!r}); look();
slide(1, {ends[1]!r}); look();
document.getElementById("reset").click(); look();
document.body.dataset.seen = JSON.stringify(seen);
"""
  seen = np.array(seen_by_browser(page, script, tmp_path / "profile")).reshape(4, *model["shape"])
  first, second = ((units[k], [ends[k]], places[units[k]]) for k in (0, 1))
  one = pure.set_unit(codes[1], *first)[0]
  two = pure.set_unit(one if whole else codes[1], *second)[0]  # frames: one slider at a time
  wanted = decode(np.stack([codes[1], one, two, codes[1]]))
  assert np.abs(wanted[0] - wanted[1]).max() > 0.02  # the sliders do something
  assert np.abs(wanted[1] - wanted[2]).max() > 0.02
  assert np.abs(seen / 255 - wanted).max() <= 1 / 255


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_mosaic_places_every_picture():
  tiles = [np.full((3, 2), k, np.float32) for k in range(5)]
  out = figures_code.mosaic([tiles[:3], tiles[3:]], gap=1)
  assert out.shape == (7, 8)
  assert (out[4:7, 3:5] == 4).all()
  assert np.isnan(out[4:7, 6:8]).all()  # the missing sixth
  assert np.isnan(out[3]).all()
  assert np.isnan(out[:, 2]).all()


def test_filters_keep_their_sign_and_colours():
  grey = figures_code.scaled(np.float32([[[-2.0], [1.0]]]))
  np.testing.assert_allclose(grey, [[-1, 0.5]])
  colour = figures_code.scaled(np.float32([[[0, 0, 0], [4, -4, 2]]]))
  np.testing.assert_allclose(colour, [[[0.5, 0.5, 0.5], [1, 0, 0.75]]])
  assert np.isfinite(figures_code.scaled(np.zeros((2, 2, 1)))).all()


def test_gif_holds_every_frame(tmp_path):
  from PIL import Image

  ramp = np.linspace(0, 1, 6, dtype=np.float32)
  images = np.broadcast_to(ramp[:, None, None, None], (6, 28, 28, 1))
  with Image.open(figures_code.save_gif(images, tmp_path / "walk.gif")) as gif:
    assert gif.n_frames == 6
    assert gif.size == (224, 224)
    for k in range(6):
      gif.seek(k)
      assert abs(np.asarray(gif.convert("L"))[100, 100] - 255 * ramp[k]) <= 1


# ---- the experiment --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(toy_npz, tmp_path_factory):
  """Tiny pretrained runs by name."""
  out, found = tmp_path_factory.mktemp("runs"), {}
  makes = {
    "low": ["--method=denoise", "--encoder=mlp:widths=9,code=4", "--hp=level=0.1", "--hp=decoder_widths=none"],
    "high": ["--method=denoise", "--encoder=mlp:widths=9,code=4", "--hp=level=0.6", "--hp=decoder_widths=none"],
    "maps": ["--method=autoencode", "--encoder=conv:widths=4-6,norm=batch"],
    "rotation": ["--method=rotation", "--encoder=conv:widths=4-6"],
  }
  for name, arguments in makes.items():
    folder = out / name
    assert call("pretrain", f"--dataset={toy_npz}", "--smoke", f"--out={folder}", *arguments) == 0
    (found[name],) = folder.iterdir()
  return found


def test_restored_method_is_the_pretrained_one(runs):
  from sslx.training import checkpoint

  run = common.restore_pretext(runs["low"])
  tree, meta = checkpoint.restore_encoder(runs["low"])
  jax.tree.map(np.testing.assert_array_equal, run.params["encoder"], tree["params"])
  assert run.meta["step"] == meta["step"] == common.SMOKE_STEPS
  assert run.meta["config"]["hp"]["level"] == 0.1
  assert run.pretext.decode
  picture = jit(lambda code: run.pretext.decode(run.params, run.state, code, (12, 12, 1)))(np.zeros((1, 4), np.float32))
  wanted = jax.nn.sigmoid(run.params["decoder"]["Dense_0"]["bias"])
  np.testing.assert_allclose(np.ravel(picture), wanted, atol=1e-6)
  one = common.restore_pretext(runs["low"] / "checkpoints" / str(meta["step"]))
  jax.tree.map(np.testing.assert_array_equal, run.params, one.params)


def drawn(out: Path) -> tuple[set[str], str]:
  (folder,) = out.iterdir()
  page = (folder / "report.html").read_text()
  names = {p.name for p in (folder / "figures").iterdir()}
  assert page.count("data:image/") == len(names)
  return names | {p.name for p in folder.glob("*.html")}, page


ALWAYS = {"filters.png", "code.png", "maps.png", "neighbours.png", "report.html"}
DECODED = {"reconstructions.png", "walks.png", "interpolation.png", "walk.gif", "sliders.html"}


def test_interpret_draws_a_denoising_run(runs, tmp_path, capsys):
  arguments = [f"--checkpoint={runs['low']}", f"--compare={runs['high']}", "--dims=3,0", "--smoke"]
  assert call("interpret", *arguments, f"--out={tmp_path}") == 0
  names, page = drawn(tmp_path)
  assert names == ALWAYS | DECODED | {"pretext.png", "decoder_units.png", "compare.png"}
  assert "--dims=3,0" in page
  assert f"--compare={runs['high']}" in page
  assert "Your browser decodes" in page
  captured = capsys.readouterr()
  assert "t-SNE" in captured.err
  assert "Report: " in captured.out


def test_interpret_draws_maps_and_walks_along_many(runs, tmp_path):
  assert call("interpret", f"--checkpoint={runs['maps']}", "--dims=0,1,2,3,4", "--smoke", f"--out={tmp_path}") == 0
  names, _ = drawn(tmp_path)
  assert names == (ALWAYS | DECODED | {"walks_1.png", "walks_2.png"}) - {"walks.png"}


def test_interpret_leaves_out_what_needs_a_decoder(runs, tmp_path, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
  assert call("interpret", f"--checkpoint={runs['rotation']}", "--images=50", "--smoke", f"--out={tmp_path}") == 0
  names, page = drawn(tmp_path)
  assert names == ALWAYS
  assert "rotation has no decoder" in page
  out = capsys.readouterr().out
  assert "rotation has no decoder" in out
  assert "sslx[maps]" in out


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--checkpoint="], "--checkpoint is missing"),
    (["--checkpoint=/nowhere"], "--checkpoint=/nowhere: no such folder"),
    (["--dims=4"], "--dims=4: '4' is no unit of this code; they are numbered 0 to 3"),
    (["--dims=a,1"], "--dims=a,1: 'a' is no unit"),
    (["--compare=/nowhere"], "--compare=/nowhere: no such folder"),
    (["--images=0"], "--images=0: must be positive"),
    (["--dataset=mnist"], "--dataset=mnist: its images are"),
    (["--features=block9"], "--features=block9"),
  ],
)
def test_bad_input_is_one_line(arguments, message, runs, tmp_path, capsys, mnist_dir):
  given = [] if "--checkpoint" in arguments[0] else [f"--checkpoint={runs['low']}"]
  assert call("interpret", *given, *arguments, "--smoke", f"--out={tmp_path}", f"--data_dir={mnist_dir}") == 1
  (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
  assert message in line
  assert not list(tmp_path.iterdir())


def test_gallery_refuses_what_is_no_picture(tmp_path):
  from sslx.types import UserError

  (tmp_path / "a.gif").write_bytes(b"GIF87a")
  with pytest.raises(UserError, match=r"a\.gif"):
    pages.write_gallery(tmp_path / "r.html", "t", "s", "c", {}, [], [("a", "b", tmp_path / "a.gif")], [])
