"""experiments.autoencoders: the pairs of output and loss, and the levels of
corruption, each pretrained with its own."""

import pytest
from helpers import call, directory, rows_of

from experiments import autoencoders

TINY = ["--encoder=mlp:widths=4,code=3", "--seeds=2", "--labels=12", "--modes=frozen", "--smoke"]


def test_members_of_each_part():
  members = {part: variants for part, (_, variants) in autoencoders.PARTS.items()}
  assert [variant.method for variant in members["family"]] == list(autoencoders.FAMILY)
  levels = {variant.title: variant.hp for variant in members["corruption"]}
  assert levels == {f"level {level:g}": (f"level={level:g}",) for level in autoencoders.LEVELS}
  pairs = {variant.hp for variant in members["outputs"]}
  assert pairs == {
    ("output=sigmoid", "loss=bce"), ("output=sigmoid", "loss=mse"), ("output=linear", "loss=mse")
  }  # fmt: skip
  assert {variant.method for part in ("outputs", "corruption") for variant in members[part]} == {
    "autoencode", "denoise"
  }  # fmt: skip


@pytest.fixture
def shortened(monkeypatch):
  """The first and the last member of each part: each costs a pretraining."""
  for part, (heading, members) in autoencoders.PARTS.items():
    monkeypatch.setitem(autoencoders.PARTS, part, (heading, [members[0], members[-1]]))


def test_a_part_is_a_table_of_its_own(shortened, toy_npz, tmp_path, capsys):
  arguments = [f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY]
  assert call("autoencoders", "--parts=outputs,corruption", *arguments) == 0
  rows = rows_of(directory(tmp_path, "autoencoders-outputs")) + rows_of(directory(tmp_path, "autoencoders-corruption"))
  levels = {r["method"]: r["pretraining"]["hp"]["level"] for r in rows if r["method"].startswith("level")}
  assert levels == {"level 0": 0.0, "level 0.9": 0.9}
  pairs = {(hp["output"], hp["loss"]) for r in rows if " + " in r["method"] for hp in [r["pretraining"]["hp"]]}
  assert pairs == {("sigmoid", "bce"), ("linear", "mse")}
  assert {r["mode"] for r in rows} == {"raw", "random", "scratch", "frozen"}
  assert call("autoencoders", "--parts=famly", *arguments) == 1
  assert "choose among family, outputs, corruption" in capsys.readouterr().err
