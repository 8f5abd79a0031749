"""Sets of sound of the TFDS catalogue, once prepared.

TFDS makes no Audio feature without TensorFlow. So the set here is written with a feature of plain samples, whose
records are the same, and its features.json is then made to say Audio, as that of speech_commands does; a stand-in takes
the one call that TFDS makes to TensorFlow when it reads this.
"""

import importlib.util
import json
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.features import audio_feature

from sslx import data
from sslx.data.lazy import LazyArray
from sslx.ops.sound import RAW_PAD
from sslx.types import UserError

RATE = 8000
SAMPLES = [np.random.default_rng(i).integers(-32768, 32768, 800 + 80 * i).astype(np.int16) for i in range(6)]


class Words(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  VERSION = tfds.core.Version("0.0.3")
  samples = SAMPLES
  channels = None
  splits = ("train", "validation", "test")

  def _info(self):
    shape = (None,) if self.channels is None else (None, self.channels)
    features = {
      "audio": tfds.features.Tensor(shape=shape, dtype=np.asarray(self.samples[0]).dtype.type),
      "label": tfds.features.ClassLabel(names=["yes", "no"]),
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("audio", "label"),
      disable_shuffling=True,
    )  # fmt: skip

  def _split_generators(self, dl_manager):
    return {name: self._generate_examples(name) for name in self.splits}

  def _generate_examples(self, split):
    for i, samples in enumerate(self.samples):
      yield i, {"audio": samples if split == "train" else samples[::-1], "label": i % 2}


def prepare(folder, rate=RATE, **attributes):
  cls = type("Words", (Words,), attributes, skip_registration=True)
  builder = cls(data_dir=folder, file_format="array_record")
  builder.download_and_prepare()
  file = folder / "words" / "0.0.3" / "features.json"
  said = json.loads(file.read_text())
  audio = said["featuresDict"]["features"]["audio"]
  tensor = audio.pop("tensor")
  audio["pythonClassName"] = "tensorflow_datasets.core.features.audio_feature.Audio"
  audio["audio"] = {
    "shape": tensor["shape"],
    "dtype": tensor["dtype"],
    "fileFormat": "wav",
    "sampleRate": str(rate),
    "encoding": "NONE",
  }
  file.write_text(json.dumps(said))


@pytest.fixture
def tensorflow(monkeypatch):
  """What TFDS needs of TensorFlow to read a features.json with an Audio feature."""
  if importlib.util.find_spec("tensorflow") is None:
    dtypes = types.SimpleNamespace(as_dtype=np.dtype)
    monkeypatch.setattr(audio_feature, "tf", types.SimpleNamespace(dtypes=dtypes))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)


def load(folder, **how):
  return data.load("tfds:words", str(folder), **how)


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_set_of_the_catalogue(tmp_path, tensorflow, limit):
  prepare(tmp_path)
  dataset = load(tmp_path, in_memory_limit=limit)
  assert (dataset.modality.name, dataset.rate, dataset.task.names) == ("sound", RATE, ("yes", "no"))
  assert isinstance(dataset.train.x, LazyArray) == (limit == 0)
  assert (dataset.x_shape, dataset.train.x.dtype) == ((1200,), np.int16)
  assert dataset.train.y.tolist() == dataset.test.y.tolist() == [0, 1] * 3
  for x, step in ((dataset.train.x, 1), (dataset.test.x, -1)):
    for row, samples in zip(np.asarray(x), SAMPLES, strict=True):
      assert np.array_equal(row[: len(samples)], np.maximum(samples[::step], -32767))
      assert (row[len(samples) :] == RAW_PAD).all()


def test_seconds_sample_rate_and_channels(tmp_path, tensorflow, capsys):
  prepare(tmp_path / "a")
  dataset = load(tmp_path / "a", seconds=0.05, sample_rate=16_000)
  assert (dataset.rate, dataset.x_shape) == (16_000, (800,))
  assert "12 of 12 recordings are cut at 0.05 s" in capsys.readouterr().err
  stereo = [np.stack([samples // 2, samples // 4], 1) for samples in SAMPLES]
  prepare(tmp_path / "b", samples=stereo, channels=2)
  row = load(tmp_path / "b").train.x[0, :800]
  assert np.abs(row - stereo[0].mean(1)).max() <= 0.5


@pytest.mark.parametrize(
  ("how", "attributes", "message"),
  [
    ({"image_size": 9}, {}, "--image_size=9: is for images, and tfds:words is sound"),
    ({}, {"rate": 0}, "does not say how many samples a second"),
    ({}, {"samples": [s.astype(np.int64) * 2 for s in SAMPLES]}, "samples beyond 16 bits"),
    ({}, {"samples": [s.astype(np.float32) for s in SAMPLES]}, "float32.*; only integers of 16 bits"),
    ({}, {"samples": [s[:100] for s in SAMPLES]}, "damaged .100 samples of 'audio' in a record"),
    ({}, {"splits": ("train",)}, "has the splits train"),
  ],
)
def test_what_does_not_fit_is_refused(tmp_path, tensorflow, how, attributes, message):
  prepare(tmp_path, **attributes)
  with pytest.raises(UserError, match=message):
    load(tmp_path, **how)


def test_without_tensorflow_one_line_says_what_is_missing(tmp_path, monkeypatch):
  prepare(tmp_path)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"to read sound from .*words/0.0.3, TFDS needs TensorFlow: pip install") as error:
    load(tmp_path)
  assert "\n" not in str(error.value)
