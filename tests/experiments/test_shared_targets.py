"""What a transfer goes to: the names of --targets, the shapes that fit, one score for all of them."""

import dataclasses

import pytest

from experiments.shared import runs
from experiments.shared.targets import fitted, load_targets, target_names
from sslx.tasks import TASKS
from sslx.types import UserError


def test_settings_of_a_data_set_have_commas_too():
  parts = ["scenes:one", "size=32", "train=120", " mnist", "scenes", "csv:/tmp/a=b.csv", "mnist", ""]
  assert target_names(parts) == ["scenes:one,size=32,train=120", "mnist", "scenes", "csv:/tmp/a=b.csv"]
  with pytest.raises(UserError, match="--targets is missing"):
    target_names([" "])


def test_transfer_is_between_images(toy):
  sound = dataclasses.replace(toy, modality=toy.modality._replace(name="sound"))
  assert fitted(toy, toy, any_size=False, match_channels=False) is toy
  for target, source, said in ((sound, toy, "from image to sound"), (toy, sound, "from sound to image")):
    with pytest.raises(UserError, match=f"--targets={toy.name}: .*{said}"):
      fitted(target, source, any_size=True, match_channels=True)


def test_a_table_has_one_score(toy, monkeypatch):
  boxes = dataclasses.replace(toy, name="boxes", task=TASKS["detection"](["cat"]))
  monkeypatch.setattr(runs, "load_dataset", {"toy": toy, "boxes": boxes}.__getitem__)
  assert load_targets(["toy"], toy, any_size=True, match_channels=False) == [toy]
  with pytest.raises(UserError, match=r"--targets=toy,boxes: the score of toy is accuracy, of boxes AP50; .*--task"):
    load_targets(["toy", "boxes"], toy, any_size=True, match_channels=False)
