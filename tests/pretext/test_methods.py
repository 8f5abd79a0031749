"""The table of methods: unknown names, and data that a method does not take."""

import pytest

from sslx.modalities import MODALITIES
from sslx.pretext import METHODS, check
from sslx.types import UserError


def test_check_names_the_nearest():
  with pytest.raises(UserError, match=r"--method=simlcr: no such method\. Did you mean 'simclr'"):
    check("simlcr")
  assert check("denoise") is METHODS["denoise"]


def test_data_of_another_modality_is_refused_in_one_line():
  sound = MODALITIES["image"]._replace(name="sound")
  error = METHODS["jigsaw"].refuses("jigsaw", sound)
  assert isinstance(error, UserError)
  assert str(error) == "--method=jigsaw: takes image data, and this data set is sound."
  both = METHODS["jigsaw"]._replace(modalities=("image", "video"))
  assert str(both.refuses("x", sound)) == "--method=x: takes image or video data, and this data set is sound."


def test_every_method_names_modalities_that_exist():
  for name, method in METHODS.items():
    assert method.modalities, name
    assert set(method.modalities) <= set(MODALITIES), name
