"""Exported models: run by jax alone in a new process, their arrays read back, and what goes wrong."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from test_models import images, sound, text, trained

import sslx
from sslx import exported, models
from sslx.fitted import Fitted
from sslx.types import UserError

CONV = "conv:widths=4-6,norm=batch"
CASES = [
  ("classification", "frozen", CONV), ("classification", "knn:5", CONV), ("classification", "propagate", CONV),
  ("classification", "raw", CONV), ("classification", "full", "resnet:widths=4-8"),
  ("classification", "frozen", "vit:width=8,depth=1,heads=2"), ("classification", "frozen", "mlp:widths=8"),
  ("multilabel", "frozen", CONV), ("regression", "frozen", CONV), ("segmentation", "scratch", CONV),
  ("detection", "frozen", CONV), ("sound", "frozen", "mel+conv:widths=4"), ("sound", "frozen", "gru:width=4"),
  ("text", "frozen", "words:width=4"), ("text", "frozen", "bag+mlp:widths=4"),
]  # fmt: skip
ONNX = [
  ("classification", "frozen", CONV), ("classification", "full", "mlp:widths=8"),
  ("classification", "frozen", "resnet:widths=4-8"), ("classification", "knn:5", CONV),
  ("classification", "frozen", "vit:width=8,depth=1,heads=2,patch=5"),
  ("multilabel", "frozen", CONV), ("regression", "frozen", CONV),
  ("segmentation", "raw", CONV),
]  # fmt: skip
BATCHES = (1, 7)
RUN_ALONE = """
import json, sys
import numpy as np, jax
from jax import export

for folder in sys.argv[1:]:
  facts = json.load(open(f"{folder}/card.json"))
  model = export.deserialize(bytearray(open(f"{folder}/model.stablehlo", "rb").read()))
  assert set(model.platforms) == {"cpu", "cuda", "tpu"}, model.platforms
  asked = np.load(f"{folder}/asked.npz")
  for n in (1, 7):
    x = asked["x"][:n]
    assert facts["input"]["x"] == {"dtype": str(x.dtype), "shape": [None, *x.shape[1:]]}
    outputs = jax.jit(model.call)(x)
    told = {name: {"dtype": str(out.dtype), "shape": [None, *out.shape[1:]]} for name, out in outputs.items()}
    assert told == facts["outputs"], (told, facts["outputs"])
    said = outputs.get("probabilities", outputs["answers"])
    np.testing.assert_allclose(np.asarray(said), asked["said"][:n], rtol=1e-5, atol=1e-5, err_msg=f"{folder}, {n}")
    np.testing.assert_allclose(np.asarray(outputs["features"]), asked["features"][:n], rtol=1e-4, atol=1e-5)
assert "sslx" not in sys.modules
assert "flax" not in sys.modules
"""


def data_of(kind: str):
  return {"sound": sound, "text": text}[kind]() if kind in ("sound", "text") else images(kind)


@pytest.fixture(scope="module")
def model() -> Fitted:
  return trained(images("classification"), "frozen", CONV)


def test_jax_alone_predicts_the_same(tmp_path):
  pytest.importorskip("flatbuffers")
  folders = []
  for number, (kind, mode, spec) in enumerate(CASES):
    data = data_of(kind)
    fitted = trained(data, mode, spec)
    assert fitted.temperature != 1
    folder = tmp_path / f"{number}-{kind}-{mode.replace(':', '-')}"
    assert sslx.export(fitted, folder) == folder / "model.stablehlo"
    x = data.test.x
    features = np.asarray(fitted.predictor.represent(x))
    np.savez(folder / "asked.npz", x=x, said=sslx.predict(fitted, x), features=features)
    folders.append(str(folder))
  environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
  paths = [path for path in sys.path if path and not os.path.isdir(os.path.join(path, "sslx"))]
  environment["PYTHONPATH"] = os.pathsep.join(paths)  # of extras that are not installed beside jax
  done = subprocess.run(
    [sys.executable, "-c", RUN_ALONE, *folders], cwd=tmp_path, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr


def test_arrays_come_back_to_the_last_bit(model, tmp_path):
  pytest.importorskip("safetensors")
  from safetensors import safe_open

  path = sslx.export(model, tmp_path, "safetensors")
  with safe_open(path, "np") as file:
    arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    rest = json.loads(file.metadata()["sslx"])
  expected, values = models.parts(model)
  assert arrays.keys() == expected.keys()
  assert len([name for name in arrays if name.startswith("encoder/params/")]) > 4
  for name, array in expected.items():
    assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape), name
    np.testing.assert_array_equal(arrays[name], array)
  assert rest == json.loads(json.dumps(values))
  assert rest["temperature"] == model.temperature


def test_what_predict_says_is_what_the_function_says(model):
  x = images("classification").test.x
  outputs = jax.jit(exported.as_function(model))(x)
  np.testing.assert_allclose(outputs["probabilities"], sslx.predict(model, x), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(outputs["answers"], model.predictor.outputs(x), rtol=1e-5, atol=1e-5)


def test_wrong_formats_and_folders_are_told(model, tmp_path):
  with pytest.raises(UserError, match=r"format=tflite: no such format; expected stablehlo, safetensors"):
    sslx.export(model, tmp_path, "tflite")
  (tmp_path / "file").touch()
  pytest.importorskip("safetensors")
  with pytest.raises(UserError, match="cannot write there"):
    sslx.export(model, tmp_path / "file", "safetensors")
  assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(("format", "package"), [("stablehlo", "flatbuffers"), ("safetensors", "safetensors")])
def test_a_missing_package_is_told(model, tmp_path, monkeypatch, format, package):
  find = exported.importlib.util.find_spec
  monkeypatch.setattr(exported.importlib.util, "find_spec", lambda name: None if name == package else find(name))
  with pytest.raises(UserError, match=rf"format={format}: needs the package {package}; pip install 'sslx\[export\]'"):
    sslx.export(model, tmp_path, format)
  assert not list(tmp_path.iterdir())


def test_onnx_runtime_predicts_the_same(model, tmp_path):
  """Where its packages are: ./launch.sh --extras=test export --format=onnx makes an environment with them."""
  pytest.importorskip("jax2onnx")
  runtime = pytest.importorskip("onnxruntime")
  for number, (kind, mode, spec) in enumerate(ONNX):
    data = data_of(kind)
    fitted = trained(data, mode, spec)
    path = sslx.export(fitted, tmp_path / str(number), "onnx")
    session = runtime.InferenceSession(path.read_bytes())
    names = [each.name for each in session.get_outputs()]
    for n in BATCHES:
      x = data.test.x[:n]
      outputs = dict(zip(names, session.run(None, {"x": x}), strict=True))
      said = outputs.get("probabilities", outputs["answers"])
      np.testing.assert_allclose(said, sslx.predict(fitted, x), rtol=1e-4, atol=1e-4, err_msg=f"{kind} {mode} {spec}")


def test_what_onnx_has_no_words_for_is_one_line(tmp_path):
  pytest.importorskip("jax2onnx")
  pytest.importorskip("onnxruntime")
  fitted = trained(images("detection"), "frozen", CONV)
  with pytest.raises(
    UserError, match=r"^format=onnx: jax2onnx .* cannot convert this model .*; take format=stablehlo\.$"
  ):
    sslx.export(fitted, tmp_path, "onnx")
  assert not list(tmp_path.iterdir())


def test_a_converted_model_that_says_something_else_is_refused():
  expected = {"answers": np.zeros((2, 3), np.float32)}
  exported.check_alike({"answers": np.full((2, 3), 5e-5, np.float32)}, expected)
  with pytest.raises(ValueError, match="answers differ"):
    exported.check_alike({"answers": np.full((2, 3), 2e-4, np.float32)}, expected)
  with pytest.raises(ValueError, match="answers are of shape"):
    exported.check_alike({"answers": np.zeros((1, 3), np.float32)}, expected)
