"""Pictures of prepared sets: what is transparent in them, and how the camera was held."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import ExifTags, Image

from sslx import data
from sslx.types import UserError


class Shapes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Grey pictures of 4x6, whose first two columns are transparent. `turned`: the camera lay on its side."""

  VERSION = tfds.core.Version("1.0.0")
  turned = False

  def _info(self):
    features = {"image": tfds.features.Image(shape=(4, 6, 4)), "label": tfds.features.ClassLabel(names=["a", "b"])}
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(10), "test": self._generate_examples(20)}

  def _generate_examples(self, value):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8 if self.turned else 1  # a quarter turn to the left sets it upright
    for i in range(2):
      pixels = np.full((4, 6, 4), value + i, np.uint8)
      pixels[..., 3] = [0, 0, 255, 255, 255, 255]
      file = io.BytesIO()
      Image.fromarray(pixels).save(file, "PNG", exif=exif)
      yield i, {"image": io.BytesIO(file.getvalue()), "label": i}


def prepare(folder, **attributes):
  cls = type("Shapes", (Shapes,), attributes, skip_registration=True)
  cls(data_dir=folder, file_format="array_record").download_and_prepare()


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_transparent_pictures_show_the_background(tmp_path, limit):
  prepare(tmp_path)
  white = data.load("tfds:shapes", str(tmp_path), in_memory_limit=limit).train.x
  assert white[0].shape == (4, 6, 3)
  assert sorted({white[0][3, 2, 1], white[1][3, 2, 1]}) == [10, 11]
  assert white[0][:, :2].min() == 255
  red = data.load("tfds:shapes", str(tmp_path), background="red", in_memory_limit=limit).train.x
  np.testing.assert_array_equal(red[1][:, :2], np.broadcast_to([255, 0, 0], (4, 2, 3)))
  np.testing.assert_array_equal(red[1][:, 2:], white[1][:, 2:])


def test_pictures_are_set_upright(tmp_path):
  prepare(tmp_path, turned=True)
  with pytest.raises(UserError, match="tfds:shapes: its images vary in size; give --image_size"):
    data.load("tfds:shapes", str(tmp_path))
  column = data.load("tfds:shapes", str(tmp_path), image_size=4).test.x[0][:, 0, 0]
  assert column[:3].min() == column[:3].max() in (20, 21)
  assert column[3] == 255  # the centre of six rows, of which the last two were the first columns
