"""sslx.interpret.sliders: exported layers, the page's JavaScript and a browser say what `decode` says."""

import base64
import functools
import json
import re
import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import BROWSER, seen_by_browser

from sslx import interpret as pure
from sslx import nn
from sslx.interpret import sliders, walks
from sslx.modalities.image import IMAGE
from sslx.pretext import build
from sslx.tasks import TASKS

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
  """(encoder, params, images f32 [6,...], codes, decode, image shape) of an untrained autoencoder, weights enlarged."""
  spec, hp, shape = CASES[case]
  encoder = nn.build(spec)
  pretext = build("autoencode", encoder, hp, TASKS["classification"](("a", "b")))
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (6, *shape), dtype=np.uint8) / np.float32(255)
  params, state = pretext.init(jax.random.key(1), {"x": images})
  params = jax.tree.map(lambda leaf: 1.5 * leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), params)
  representation = nn.Representation(encoder, "flatten", params["encoder"], state["encoder"], IMAGE.prepare)
  codes = np.asarray(pure.reader(representation)(images))
  codes = codes / codes.std()
  assert pretext.decode
  return encoder, params, images, codes, walks.decoder(pretext.decode, params, state, shape), shape


@pytest.mark.parametrize("case", CASES)
def test_exported_layers_say_what_decode_says(case):
  encoder, params, _, codes, decode, shape = small(case)
  layers = sliders.export(params, encoder.block_names, codes.shape[1:], shape)
  assert layers
  output = CASES[case][1].get("output", "sigmoid")
  assert sliders.faithful(layers, decode, codes) == output
  wanted = decode(codes)
  got = np.stack([sliders.run_layers(layers, output, code) for code in codes])
  assert wanted.std() > 0.02  # pictures, not a constant
  np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_decoder_of_other_layers_is_not_exported():
  encoder, params, _, codes, decode, shape = small("mlp")
  export = sliders.export
  assert export({"encoder": params["encoder"]}, encoder.block_names, (5,), shape) is None
  assert export({**params, "decoder": {"Magic_0": {}}}, encoder.block_names, (5,), shape) is None
  layers = export(params, encoder.block_names, (5,), shape)
  assert layers
  assert sliders.faithful(layers, lambda codes: decode(codes[:, ::-1]), codes) is None  # recognised, yet other


@pytest.mark.parametrize("case", ["mlp single layer", "dictionary", "dictionary with a stride"])
def test_unit_images_are_what_a_unit_adds(case):
  """Of a linear decoder: decoded with the unit on, less decoded with all units off, before the sigmoid."""
  encoder, params, _, codes, decode, shape = small(case)
  layers = sliders.export(params, encoder.block_names, codes.shape[1:], shape)
  assert layers
  drawn = sliders.unit_images(layers)
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
  layers = sliders.export(params, encoder.block_names, (5,), shape)
  assert layers
  assert sliders.unit_images(layers) is None


def write(case: str, path: Path, whole: bool = True):
  """A page of sliders for a small autoencoder; (its model, images, codes, units, stats, places, decode, sentence)."""
  encoder, params, images, codes, decode, shape = small(case)
  layers = sliders.export(params, encoder.block_names, codes.shape[1:], shape) if whole else None
  stats, places = pure.statistics(pure.amplitudes(codes), codes.ndim == 4), pure.places(codes)
  units = pure.widest(stats, 3)
  output = CASES[case][1].get("output", "sigmoid")
  how = sliders.write_page(path, "<b>Title", "Subtitle", decode, layers, output, images, codes, units, stats, places)
  page = path.read_text()
  packed = re.search(r'<script type="application/json" id="model">(.*?)</script>', page, re.DOTALL)
  assert packed
  assert "<b>Title" not in page
  return json.loads(packed[1]), codes, units, stats, places, decode, how


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
  monkeypatch.setattr(sliders, "LIMIT", 2000)
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
for (let b = 0; b < model.count; b++) {{
  const code = {{ data: codes.slice(b * n, b * n + n), shape: model.code }};
  out.push([...decode(model.layers.map(load), model.output, code)]);
}}
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
  first_moved = pure.set_unit(codes[1], *first)[0]
  both_moved = pure.set_unit(first_moved if whole else codes[1], *second)[0]  # frames: one slider at a time
  wanted = decode(np.stack([codes[1], first_moved, both_moved, codes[1]]))
  assert np.abs(wanted[0] - wanted[1]).max() > 0.02  # the sliders do something
  assert np.abs(wanted[1] - wanted[2]).max() > 0.02
  assert np.abs(seen / 255 - wanted).max() <= 1 / 255
