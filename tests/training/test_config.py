"""The configuration of a run: defaults of the method, facts of the data, JSON and
back, and what older versions wrote."""

import dataclasses
import json

import numpy as np
import pytest

from sslx import options
from sslx.data import Split
from sslx.data.types import image_classes
from sslx.pretext import METHODS
from sslx.training.config import Config
from sslx.types import UserError

SPEC = "conv:widths=4-6,norm=batch"
HOW = {"optimizer": "lars", "weight_decay": 1e-6, "warmup_epochs": 1.0, "accumulate": 2, "precision": "bfloat16"}


def resolved(toy, method: str = "simclr", **given) -> Config:
  return Config(method=method, encoder=SPEC, **given).resolved(toy)


def test_it_says_how_a_run_is_trained(toy):
  config = resolved(toy, batch_size=64, **HOW)
  assert HOW.items() <= dataclasses.asdict(config).items()
  assert config.learning_rate == pytest.approx(0.3 * 64 / 256)  # simclr's own is that of adamw
  assert resolved(toy, learning_rate=2.0, **HOW).learning_rate == 2.0
  default = resolved(toy)
  assert (default.optimizer, default.weight_decay, default.warmup_epochs) == ("adamw", 1e-4, None)
  assert (default.accumulate, default.precision, default.learning_rate) == (1, "float32", 2e-3)


def test_it_holds_what_the_data_are(toy):
  config = resolved(toy)
  assert (config.x_shape, config.x_dtype, config.examples, config.watch) == ((12, 12, 1), "uint8", 240, 24)
  other = dataclasses.replace(toy, train=dataclasses.replace(toy.train, x=255 - toy.train.x))
  assert resolved(other).data_crc32 != config.data_crc32
  assert resolved(toy, features="pool").features is None  # only the probes read it
  assert resolved(toy, "supervised", features="pool").features == "pool"


def test_no_example_that_is_pretrained_on_changes_unseen():
  """The checksum is of every third here; targets count where the method reads them."""
  x, y = np.zeros((10_001, 2, 2, 1), np.uint8), np.arange(10_001, dtype=np.int32) % 2

  def made(method: str, x=x, y=y, test=x[:4], unlabeled=None) -> Config:
    splits = Split(x, y), Split(test, y[: len(test)]), None if unlabeled is None else Split(unlabeled, None)
    return Config(method=method, encoder="mlp:widths=4,code=3").resolved(image_classes("d", ("a", "b"), *splits))

  other, swapped = x.copy(), y[::-1].copy()
  other[1] = 1
  swapped[:2] = 1, 1
  usual = made("denoise")
  assert made("denoise", other).data_crc32 == usual.data_crc32
  assert made("denoise", other).data_digest != usual.data_digest
  assert made("denoise", y=swapped, test=x[:2] + 1) == usual
  assert made("supervised", y=swapped).data_digest != made("supervised").data_digest
  more = [made("denoise", unlabeled=x[:5] + n).data_digest for n in (0, 1)]
  assert len({usual.data_digest, *more}) == 3
  older = {name: value for name, value in usual.to_json().items() if name != "data_digest"}
  assert Config.read(older).data_digest == ""


def test_a_budget_is_steps_whatever_the_size_of_the_data(toy):
  """216 images are trained on: 13 steps of 16 an epoch. They are told as epochs too."""
  for examples in (240, 120, 60):
    rows = np.arange(examples)
    part = dataclasses.replace(toy, train=dataclasses.replace(toy.train, x=toy.train.x[rows], y=toy.train.y[rows]))
    config = resolved(part, "denoise", batch_size=16)
    assert config.steps == METHODS["denoise"].steps
    assert config.epochs == config.steps / ((examples - config.watch) // 16)
  assert (resolved(toy, batch_size=16, epochs=2.5).steps, resolved(toy, batch_size=16, steps=26).epochs) == (32, 2)
  assert resolved(toy, batch_size=16, steps=7, watch=0).epochs == 7 / 15
  assert resolved(toy, batch_size=500, epochs=3).steps == 3  # a batch is no larger than the data
  again = resolved(toy, batch_size=16, epochs=2.5)
  assert again.resolved(toy) == again


def test_steps_and_epochs_that_contradict_are_refused(toy):
  assert resolved(toy, batch_size=16, epochs=2, steps=26).steps == 26
  with pytest.raises(UserError, match="--steps=25: contradicts --epochs=2; give one"):
    resolved(toy, batch_size=16, epochs=2, steps=25)


def test_defaults_are_what_they_were_on_mnist():
  """Of 59,000 images, in sslx 0.1: {method: (epochs, batch)}; 4 of 256 where nothing is said. Those of sound alone have
  about four minutes on two cores.
  """
  two_views = dict.fromkeys(("barlow_twins", "byol", "dino", "moco", "simclr", "simsiam", "swav", "vicreg"), (6, 256))
  two_epochs = dict.fromkeys(
    ("colorize", "context_encoder", "context_prediction", "denoise", "inpaint", "jigsaw", "rotation", "split_brain",
     "stacked_denoise", "super_resolution"), (2, 64),
  )  # fmt: skip
  others = {
    "contractive": (20, 256), "sparse": (20, 256), "conv_wta": (2, 100), "wta": (8, 100), "cpc": (2, 32),
    "cpc_v2": (2, 32), "deep_infomax": (2, 128), "mae": (4, 64), "vader": (2, 32),
  }  # fmt: skip
  known = two_views | two_epochs | others
  of_others = {name: (m.steps, m.batch_size) for name, m in METHODS.items() if "image" not in m.modalities}
  sound = {"apc": (8_000, 32), "cpc_audio": (800, 32)}
  text = {"masked_words": (2_000, 8), "skipgram": (30_000, 2), "cbow": (7_500, 8)}  # the last two: 15.4 M ids
  video = {"temporal_colour": (6_000, 16)}
  assert of_others == {**sound, **text, **video}
  for name, method in METHODS.items():
    if "image" not in method.modalities:
      continue
    epochs, batch = known.get(name, (4, 256))
    assert (method.steps, method.batch_size) == (epochs * (59_000 // batch), batch), name


def test_json_and_back(toy):
  for config in (resolved(toy), resolved(toy, **HOW), resolved(toy, hp={"projector": (4, 3)}), Config(method="mae")):
    saved = json.loads(json.dumps(config.to_json()))
    assert Config.read(saved).to_json() == saved == config.to_json()


def test_what_sslx_01_wrote_is_the_same_run(toy):
  config = resolved(toy)
  saved = config.to_json()
  names = {"x_shape": "image_shape", "examples": "images", "watch": "watched"}
  kept = ("method", "hp", "dataset", "encoder", "features", "epochs", "batch_size", "learning_rate", "seed", "smoke",
          "data_crc32", *names)  # fmt: skip
  old = {names.get(name, name): saved[name] for name in kept}  # it knew epochs, and no steps
  assert saved["steps"] == config.epochs * 1  # a batch of 256 is all of the 216 images
  assert Config.read(old).to_json() == {**saved, "data_digest": ""}  # it kept none
  late = Config.read({**old, "labels": "one row late", "schedule": "constant", "shuffle": False})
  assert (late.variant, late.schedule, late.shuffle) == ("one row late", "constant", False)


def test_what_a_newer_sslx_wrote_is_refused(toy):
  with pytest.raises(UserError, match="wings: unknown here; it was written by a newer sslx"):
    Config.read({**resolved(toy).to_json(), "wings": 2})


def test_every_setting_has_a_help_and_facts_have_none():
  settings = {one.name for one in options.settings(Config)}
  facts = {"x_shape", "x_dtype", "rate", "examples", "data_crc32", "data_digest", "smoke", "variant", "version"}
  assert settings | facts == {field.name for field in dataclasses.fields(Config)}
  assert all(one.help[0].isupper() or one.name == "dataset" for one in options.settings(Config))


def test_hyper_parameters_are_checked_and_completed(toy):
  assert resolved(toy, "denoise", hp={"level": 0.25}).hp["level"] == 0.25
  assert resolved(toy, "denoise").hp["level"] == 0.5
  with pytest.raises(UserError, match=r"--hp=levl=1: .*Did you mean 'level'"):
    resolved(toy, "denoise", hp={"levl": 1})


def test_cpc_predicts_as_far_ahead_as_it_did(toy):
  for method in ("cpc", "cpc_v2"):
    saved = Config(method=method, hp={"ahead": 2}).resolved(toy).to_json()
    old = {**saved, "version": 2, "hp": {"steps" if n == "ahead" else n: v for n, v in saved["hp"].items()}}
  assert Config.read(old).to_json() == saved


def test_decoder_widths_of_sslx_01_mean_what_they_meant(toy):
  """There [] mirrored the encoder and null was a single linear layer."""
  for method, default in (("denoise", "auto"), ("wta", None)):
    saved = Config(method=method, encoder=SPEC).resolved(toy).to_json()
    assert saved["hp"]["decoder_widths"] == default
  old = {name: value for name, value in saved.items() if name != "version"}
  for before, after in (([], "auto"), (None, None), ([64, 512], [64, 512])):
    again = Config.read({**old, "hp": {**old["hp"], "decoder_widths": before}})
    assert again.to_json()["hp"]["decoder_widths"] == after
