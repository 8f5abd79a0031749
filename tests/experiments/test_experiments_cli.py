"""The command line: one line for every bad input, help, settings that become flags,
huge pages, the compilation cache."""

import dataclasses
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from helpers import call, directory, module_of

from experiments.shared import cli, machine, runs, start
from sslx.evaluation.recipe import Recipe
from sslx.tasks import TASKS
from sslx.training.config import Config
from sslx.training.run import Meta

TINY = ["--encoder=conv:widths=4-6,norm=none", "--seeds=2", "--labels=12", "--smoke"]
ROOT = Path(cli.__file__).parents[2]
FLAG_FILES = sorted((ROOT / "experiments/flags").glob("*.flags"))

BAD = [
  (["--method=denois"], r"--method=denois: .*Did you mean 'denoise'"),
  (["--encoder=cnv"], r"--encoder=cnv: .*Did you mean 'conv'"),
  (["--encoder=conv:widths=a"], r"--encoder=conv:widths=a: expected integers joined by -.*not 'a'"),
  (["--encoder=conv:widths=0-4"], r"widths must be positive"),
  (["--encoder=conv:wdths=4"], r"Did you mean 'widths'"),
  (["--features=blok2"], r"--features=blok2"),
  (["--modes=frozn"], r"--modes=frozn: .*Did you mean 'frozen'"),
  (["--modes=last:3"], r"--modes=last:3: this encoder has 2 blocks"),
  (["--modes=last:0"], r"--modes=last:0"),
  (["--hp=levl=0.5"], r"--hp=levl=0.5: .*Did you mean 'level'"),
  (["--hp=level=much"], r"--hp=level=much: expected float, not 'much'"),
  (["--hp=level"], r"--hp=level: expected name=value"),
  (["--hp=level=0.1", "--hp=level=0.2"], r"given twice"),
  (["--hp=noise=masking", "--hp=level=2"], r"--hp=level=2: must be in \[0, 1\]"),
  (["--hp=noise=snow"], r"--hp=noise=snow: unknown value"),
  (["--hp=output=relu"], r"--hp=output=relu: .*no gradient"),
  (["--hp=output=linear", "--hp=loss=bce"], r"--hp=loss=bce"),
  (["--labels=2"], r"--labels: .*3 classes"),
  (["--labels=241"], r"--labels: .*240"),
  (["--labels=12", "--modes=frozen,knn:13"], r"--modes=knn:13: k must be between 1 and the number of labels \(12\)"),
  (["--batch_size=1", "--method=simclr"], r"--batch_size=1: leaves one example, and --method=simclr"),
  (["--labels=ten"], r"--labels=ten"),
  (["--labels="], r"--labels="),
  (["--epochs=0"], r"--epochs=0.*positive"),
  (["--epochs=-1"], r"--epochs=-1.*positive"),
  (["--batch_size=0"], r"--batch_size=0: must be positive"),
  (["--seeds=0"], r"--seeds=0: must be positive"),
  (["--optimizer=adam"], r"--optimizer=adam: unknown. Did you mean 'adamw'"),
  (["--precision=half"], r"--precision=half: unknown"),
  (["--accumulate=0"], r"--accumulate=0: must be at least 1"),
  (["--accumulate=7"], r"--accumulate=7: a batch of 64 images"),
  (["--warmup_epochs=2", "--epochs=2"], r"--warmup_epochs=2: must be .* below the 2 epochs of the run"),
  (["--pretraining_weight_decay=-1"], r"--pretraining_weight_decay=-1: must be at least 0"),
  (["--learning_rate=0"], r"--learning_rate=0.*positive"),
  (["--finetune_steps=0"], r"--finetune_steps=0: must be positive"),
  (["--finetune_learning_rates=a"], r"--finetune_learning_rates=a"),
  (["--image_size=0"], r"--image_size=0: must be positive"),
  (["--background=whit"], r"--background=whit: no such opaque colour"),
  (["--bits=7"], r"--bits=7: must be between 8 and 16"),
  (["--validation=some"], r"--validation=some: expected cv"),
  (["--validation=heldout:240"], r"--validation=heldout:240"),
  (["--dataset=mnst"], r"Did you mean 'mnist'|mnist"),
  (["--dataset=npz:/nowhere.npz"], r"/nowhere.npz"),
  (["--epochs=many"], r"--?epochs"),
  (["--epoch=3"], r"--epoch: no such flag. Did you mean --epochs"),
  (["--task=segmentation"], r"--task=segmentation: npz:.* has no targets for it; it is for classification"),
  (["--task=clasification"], r"--task=clasification: "),
  (["--target=age"], r"--target=age: "),
  (["stray"], r"'stray' is not a flag"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line(arguments, message, toy_npz, tmp_path, capsys):
  out = tmp_path / "out"
  given = [f"--dataset={toy_npz}", f"--out={out}", *TINY]
  keep = [g for g in given if not any(a.startswith(g.partition("=")[0] + "=") for a in arguments)]
  assert call("low_label", *keep, *arguments) in (1, 2)
  captured = capsys.readouterr()
  assert captured.out == ""
  lines = captured.err.splitlines()
  assert len(lines) == 1, captured.err
  assert lines[0].startswith("error: ")
  assert re.search(message, lines[0]), lines[0]
  assert not list(out.glob("*/checkpoints/*"))


@pytest.mark.parametrize(("heldout", "counts"), [(0, [6, 12, 24, 240]), (40, [5, 12, 20, 200])])
def test_percentages_are_of_the_labels_that_there_are(heldout, counts, toy):
  seen = []
  arguments = ["low_label", "--labels=2.5%,12, 10% ,all,100%"]
  assert cli.run(lambda: seen.extend(cli.label_counts(toy, heldout)), "experiments.low_label", arguments) == 0
  assert seen == counts


def test_help_tells_flags_defaults_and_the_methods_hyper_parameters(capsys):
  assert call("low_label", "--help=all") == 0
  text = capsys.readouterr().out
  for flag in ("method", "dataset", "data_dir", "encoder", "features", "modes", "labels", "seeds", "epochs",
               "batch_size", "learning_rate", "optimizer", "accumulate", "precision", "warmup_epochs",
               "pretraining_weight_decay", "hp", "out", "fresh", "smoke", "debug"):  # fmt: skip
    assert f"--{flag}" in text
  assert "temperature=" in text


def test_debug_shows_the_traceback(toy_npz, tmp_path, capsys):
  assert call("low_label", f"--dataset={toy_npz}", f"--out={tmp_path}", "--method=x", "--debug") == 1
  assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_is_one_line(capsys):
  """And other errors of the system keep their traceback: they are nobody's disk."""

  def main(*arguments):
    def fail():
      raise OSError(*arguments)

    return cli.run(fail, "experiments.low_label", ["low_label"])

  assert main(errno.ENOSPC, "No space left on device", "runs/a/results.jsonl") == 1
  said = "error: runs/a/results.jsonl: No space left on device; what is finished is kept, run the same command again"
  assert capsys.readouterr().err == f"{said} when there is room.\n"
  for code in (errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO):
    assert main(code, "a\nb") == 1
    assert re.fullmatch(r"error: a b; what is finished is kept, .*\.\n", capsys.readouterr().err)
  for arguments in ((errno.ENOENT, "No such file", "x"), (errno.EPIPE, "Broken pipe"), ("without a number",)):
    with pytest.raises(OSError, match=r"No such|Broken|without"):
      main(*arguments)


EXTENDED = """
import dataclasses, sys
import sslx.training.config as config
from sslx.options import setting

field = ("patience", int, setting(7, "A setting of this test.", flag="waiting"))
config.Config = dataclasses.make_dataclass("Extended", [field], bases=(config.Config,), frozen=True, kw_only=True)

from experiments import pretrain
from experiments.shared import cli

assert cli.run(pretrain.main, "experiments.pretrain", ["pretrain", "--help=all"]) == 0
assert cli.run(pretrain.main, "experiments.pretrain", sys.argv) == 0

import inspect
import sslx

assert inspect.signature(sslx.pretrain).parameters["patience"].default == 7
assert sslx.load(next(cli.Path(cli.FLAGS.out).iterdir())).meta.config.patience == 9
assert config.Config.read({"method": "denoise", "version": 2}).patience == 7  # of a run that is older than it
"""


def test_a_pretraining_setting_is_one_field(toy_npz, tmp_path):
  """A field of Config more is a flag, a line of --help, an entry of config.json, and an argument in Python."""
  flags = [f"--dataset={toy_npz}", f"--out={tmp_path}", "--encoder=mlp:widths=4,code=3", "--smoke", "--waiting=9"]
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  command = [sys.executable, "-c", EXTENDED, *flags]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert "--waiting [7]\n      A setting of this test." in done.stdout
  assert json.loads((directory(tmp_path) / "config.json").read_text())["patience"] == 9


@pytest.mark.parametrize("path", FLAG_FILES, ids=lambda path: path.stem)
def test_flag_files_parse_and_hold_no_default(path):
  __import__(module_of(path.stem))
  lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
  seen = []
  assert cli.run(lambda: seen.append(True), module_of(path.stem), [path.stem, f"--flagfile={path}"]) == 0
  assert seen
  for line in lines:
    flag = flags.FLAGS[re.fullmatch(r"--(?:no)?(\w+?)(?:=.*)?", line)[1]]
    assert flag.present, line
    assert flag.value != flag.default, line


def test_both_published_comparisons_have_flag_files():
  assert {"one_percent", "rotnet_mnist"} <= {path.stem for path in FLAG_FILES}


@pytest.mark.parametrize(
  ("argv", "given", "again"),
  [
    (["python", "-P", "-m", "experiments.low_label", "--seeds=2"], {}, True),
    (["python", "-m", "experiments.low_label"], {"GLIBC_TUNABLES": ""}, False),  # the caller's own setting
    (["python", "-m", "pytest", "experiments.low_label"], {}, False),
    (["python", "script.py"], {}, False),
  ],
)
def test_commands_start_again_with_huge_pages_once(monkeypatch, argv, given, again):
  started = []
  monkeypatch.setattr(os, "environ", given | {"HOME": "/home/someone"})
  monkeypatch.setattr(sys, "orig_argv", argv)
  monkeypatch.setattr(sys, "platform", "linux")
  monkeypatch.setattr(os, "execve", lambda *call: started.append(call))
  start.use_huge_pages()
  if not again:
    assert started == []
    return
  ((path, arguments, environment),) = started
  assert (path, arguments) == (sys.executable, [sys.executable, *argv[1:]])
  assert environment == {"HOME": "/home/someone", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def test_the_compilation_cache_is_off_unless_asked_for(tmp_path, monkeypatch):
  import jax

  monkeypatch.setattr(Path, "home", lambda: tmp_path)
  folders = []
  monkeypatch.setattr(machine, "use_compilation_cache", folders.append)
  assert cli.run(lambda: None, "experiments.pretrain", ["pretrain"]) == 0
  assert folders == []
  assert cli.run(lambda: None, "experiments.pretrain", ["pretrain", "--compilation_cache"]) == 0
  assert folders == [tmp_path / ".cache/sslx"]
  monkeypatch.undo()
  before = {
    n: getattr(jax.config, n) for n in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
  }
  try:
    machine.use_compilation_cache(tmp_path / "cache")
    folder = Path(jax.config.jax_compilation_cache_dir)
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
  assert folder.parent == tmp_path / "cache"
  assert folder.name.startswith(f"jaxlib-{jax.lib.__version__}-")


def test_settings_of_pretraining_and_of_training_on_labels_stand_apart_on_a_page():
  """Both have epochs, a batch size, an optimiser: none hides the other, and each is called as its flag is."""
  pretraining, recipe = Config(method="rotation", epochs=3.0, batch_size=7), Recipe(epochs=5.0, batch_size=9)
  shown = cli.flag_names(pretraining.to_json(), {"validation": "cv", **recipe.to_json()})
  assert len(shown) == len(pretraining.to_json()) + len(recipe.to_json()) + 1
  expected = {"epochs": 3.0, "batch_size": 7, "finetune_epochs": 5.0, "finetune_batch_size": 9, "validation": "cv"}
  assert expected.items() <= shown.items()
  assert shown["pretraining_weight_decay"] == shown["weight_decay"] == 1e-4


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression", "segmentation", "detection"])
def test_the_recipe_is_the_tasks_where_no_flag_says_otherwise(task):
  """And what is given counts, at the flag's default too."""
  made: list[Recipe] = []
  of_task = TASKS[task](("a", "b"))

  def recipe(*given: str) -> Recipe:
    assert cli.run(lambda: made.append(cli.recipe(of_task)), "experiments.low_label", ["low_label", *given]) == 0
    return made[-1]

  usual = Recipe(**dict(of_task.recipe))
  assert recipe() == usual
  assert (usual == Recipe()) == (task == "classification" or not of_task.recipe)
  given = recipe("--finetune_steps=150", "--finetune_learning_rates=0.1,0.2")
  assert given == dataclasses.replace(usual, steps=150, learning_rates=(0.1, 0.2))
  assert recipe("--finetune_epochs=3") == dataclasses.replace(usual, epochs=3.0)
  assert recipe("--smoke").steps == cli.SMOKE_STEPS
  assert recipe("--smoke").learning_rates == usual.learning_rates


def test_the_recipe_of_no_task_is_that_of_the_flags():
  made: list[Recipe] = []
  assert cli.run(lambda: made.append(cli.recipe()), "experiments.low_label", ["low_label"]) == 0
  assert made == [Recipe()]


@pytest.mark.parametrize(
  ("given", "expected"),
  [
    ((), {"classification": "flatten", "regression": "all:moments", "segmentation": "maps4", "detection": "maps4"}),
    (("--features=pool",), {"classification": "pool", "regression": "pool", "segmentation": None, "detection": None}),
    (
      ("--features=maps4",),
      {"classification": None, "regression": None, "segmentation": "maps4", "detection": "maps4"},
    ),
    (("--features=maps2",), {"segmentation": None}),
  ],
)
def test_a_task_is_read_as_it_needs_or_as_the_flag_says(given, expected):
  """None: refused in a line, with the cure."""
  for name, reading in expected.items():
    seen = []
    task = TASKS[name](("a", "b"))
    status = cli.run(lambda task=task: seen.append(runs.reading(task)), "experiments.low_label", ["low_label", *given])
    assert (status, seen) == ((0, [reading]) if reading else (1, [])), (name, given)


def test_a_checkpoint_is_read_as_it_was_told_to_be_by_tasks_that_read_anything():
  """Where it was told nothing, its reading is its task's, and says nothing of another one."""
  seen = []

  def main():
    for features, made_for in (("block1:pool", "classification"), ("maps4", "segmentation")):
      meta = Meta(Config(method="denoise"), features, "image", made_for, ("a", "b"))
      seen.append(
        [runs.reading(TASKS[name](("a", "b")), meta) for name in ("classification", "regression", "detection")]
      )

  assert cli.run(main, "experiments.low_label", ["low_label"]) == 0
  assert seen == [["block1:pool", "all:moments", "maps4"], ["flatten", "all:moments", "maps4"]]
  assert cli.run(main, "experiments.low_label", ["low_label", "--features=grid2"]) == 1  # detection reads maps4 alone
