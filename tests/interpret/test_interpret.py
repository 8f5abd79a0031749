"""experiments.interpret draws what a run has, and refuses bad input in one line."""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import interpret, pretrain
from experiments.shared import cli
from experiments.shared import runs as directories
from sslx import nn
from sslx.interpret import walks
from sslx.training import checkpoint
from sslx.training import run as training

SMOKE_STEPS = 6  # of pretraining with --smoke
MAINS = {"interpret": interpret.main, "pretrain": pretrain.main}


def call(name: str, *arguments: str) -> int:
  return cli.run(MAINS[name], f"experiments.{name}", [name, *arguments])


@pytest.fixture(scope="module")
def runs(toy_npz, tmp_path_factory):
  """Tiny pretrained runs by name."""
  out, directories = tmp_path_factory.mktemp("runs"), {}
  makes = {
    "low": ["--method=denoise", "--encoder=mlp:widths=9,code=4", "--hp=level=0.1", "--hp=decoder_widths=none"],
    "high": ["--method=denoise", "--encoder=mlp:widths=9,code=4", "--hp=level=0.6", "--hp=decoder_widths=none"],
    "maps": ["--method=autoencode", "--encoder=conv:widths=4-6,norm=batch"],
    "rotation": ["--method=rotation", "--encoder=conv:widths=4-6"],
  }
  for name, arguments in makes.items():
    folder = out / name
    assert call("pretrain", f"--dataset={toy_npz}", "--smoke", f"--out={folder}", *arguments) == 0
    (directories[name],) = folder.iterdir()
  return directories


def test_restored_method_is_the_pretrained_one(runs):
  run = training.restore(runs["low"])
  tree, saved = checkpoint.restore_encoder(runs["low"])
  jax.tree.map(np.testing.assert_array_equal, run.params["encoder"], tree["params"])
  assert run.meta.step == training.Meta.read(saved).step == SMOKE_STEPS
  assert run.meta.config.hp["level"] == 0.1
  assert run.pretext.decode
  picture = walks.decoder(run.pretext.decode, run.params, run.state, (12, 12, 1))(np.zeros((1, 4), np.float32))
  wanted = jax.nn.sigmoid(nn.only_layer(run.params["decoder"])["bias"])
  np.testing.assert_allclose(np.ravel(picture), wanted, atol=1e-6)
  same = training.restore(runs["low"] / "checkpoints" / str(run.meta.step))
  jax.tree.map(np.testing.assert_array_equal, run.params, same.params)


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
  assert call("interpret", f"--checkpoint={runs['rotation']}", "--examples=50", "--smoke", f"--out={tmp_path}") == 0
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
    (["--examples=0"], "--examples=0: must be positive"),
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


def test_other_data_than_images_are_refused(runs, toy, tmp_path, capsys, monkeypatch):
  sound = dataclasses.replace(toy, modality=toy.modality._replace(name="sound"))
  monkeypatch.setattr(directories, "checkpoint_dataset", lambda meta: sound)
  assert call("interpret", f"--checkpoint={runs['low']}", f"--out={tmp_path}") == 1
  assert f"--checkpoint={runs['low']}: reads sound data" in capsys.readouterr().err
  assert not list(tmp_path.iterdir())
