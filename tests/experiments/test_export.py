"""experiments.export: a run's best model in files for others, with a card made from the run's rows."""

import json
import shutil

import numpy as np
import pytest
import yaml
from helpers import call

import sslx
from sslx import models
from sslx.report import records


@pytest.fixture(scope="module")
def run(low_label_run, toy, tmp_path_factory):
  """A copy of a run directory with a model in it."""
  _, directory = low_label_run
  copy = tmp_path_factory.mktemp("export") / "run"
  shutil.copytree(directory, copy)
  shutil.rmtree(copy / "models", ignore_errors=True)
  fitted = sslx.fit(sslx.load(directory), toy, 24)
  models.write(fitted._replace(about={**fitted.about, "smoke": True}), copy / "models" / "best")
  return copy


def test_the_card_has_the_numbers_of_the_run(run, capsys):
  pytest.importorskip("safetensors")
  assert call("export", f"--model={run}", "--format=safetensors") == 0
  folder = run / "models" / "best" / "export"
  assert {path.name for path in folder.iterdir()} == {"README.md", "card.json", "model.safetensors"}
  assert str(folder / "model.safetensors") in capsys.readouterr().out
  text = (folder / "README.md").read_text()
  metric = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"][0]["metrics"][0]
  rows = records.read_rows(run / "results.jsonl")
  mine = [row["test_accuracy"] for row in rows if (row["mode"], row["labels"]) == ("frozen", 24)]
  assert len(mine) == 2
  assert metric["value"] == np.mean(mine)
  assert "numbers mean nothing" in text
  card = json.loads((folder / "card.json").read_text())
  assert (card["mode"], card["labels"], card["input"]["x"]["dtype"]) == ("frozen", 24, "uint8")


def test_several_formats_and_another_folder(run, tmp_path):
  pytest.importorskip("safetensors")
  pytest.importorskip("flatbuffers")
  out = tmp_path / "elsewhere"
  formats = "--format=stablehlo,safetensors"
  assert call("export", f"--model={run / 'models' / 'best'}", formats, f"--out={out}") == 0
  assert {path.name for path in out.iterdir()} == {"README.md", "card.json", "model.safetensors", "model.stablehlo"}
  text = (out / "README.md").read_text()
  assert text.index("`model.stablehlo`") < text.index("`model.safetensors`")


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["--model=nowhere", "--format=safetensor"], "--format=safetensor: no such format; expected stablehlo"),
    (["--model=nowhere", "--format="], "--format=: name a format"),
    (["--model=nowhere"], "--model=nowhere"),
    ([], "--model"),
  ],
)
def test_what_is_wrong_is_told_in_one_line(arguments, said, capsys):
  pytest.importorskip("flatbuffers")
  assert call("export", *arguments) == 1
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert line.startswith("error: ")
  assert said in line
