"""Every experiment in-process with --smoke; a kill and a second call; one line for every bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import experiments
from experiments import low_label, pretrain, probe
from experiments.shared import cli as common

MAINS = {"low_label": low_label.main, "pretrain": pretrain.main, "probe": probe.main}
TINY = ["--encoder=conv:widths=4-6,norm=none", "--seeds=2", "--labels=12", "--smoke"]


def call(name: str, *arguments: str) -> int:
  return common.run(MAINS[name], f"experiments.{name}", [name, *arguments])


def only_run(out: Path) -> Path:
  (run,) = [d for d in out.iterdir() if d.is_dir()]
  return run


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory):
  """A finished low_label run: (--out folder, run directory)."""
  out = tmp_path_factory.mktemp("runs")
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--labels=12,24") == 0
  return out, only_run(out)


def rows_of(run: Path) -> list[dict]:
  return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


def test_low_label_writes_rows_figures_and_a_report(finished, toy_npz):
  _, run = finished
  rows = rows_of(run)
  modes = ["raw", "random", "scratch", "frozen", "last:1", "full"]
  assert [(r["labels"], r["mode"], r["subset_seed"]) for r in rows] == [
    (n, m, s) for n in (12, 24) for m in modes for s in (0, 1)
  ]
  totals = {r["parameters_total"] for r in rows if r["mode"] != "raw"}
  assert len(totals) == 1
  for row in rows:
    assert 0 <= row["test_accuracy"] <= 1
    assert row["test_accuracy"] * 90 == pytest.approx(round(row["test_accuracy"] * 90))
    assert row["dataset"] == toy_npz
    assert {"git", "versions", "device", "flags", "seconds", "chosen", "encoder", "method"} <= row.keys()
  pictures = {p.stem for p in (run / "figures").glob("*.png")}
  assert pictures == {
    "accuracy", "labels", "loss", "pretext", "predictions_scratch", "predictions_frozen",
    "confusion_scratch", "confusion_frozen",
  }  # fmt: skip
  page = (run / "report.html").read_text()
  assert page.count("data:image/png") == len(pictures)
  metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  assert metrics[-1]["step"] == common.SMOKE_STEPS


def test_the_same_command_again_trains_nothing(finished, toy_npz, capsys):
  out, run = finished
  before = (run / "results.jsonl").read_bytes()
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--labels=12,24") == 0
  assert (run / "results.jsonl").read_bytes() == before
  assert "frozen" in capsys.readouterr().out


def test_another_mode_or_count_reuses_the_pretraining(finished, toy_npz, capsys):
  out, run = finished
  saved = (run / "checkpoints").stat().st_mtime_ns
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, "--labels=6", "--modes=knn:3,frozen") == 0
  assert only_run(out) == run
  assert (run / "checkpoints").stat().st_mtime_ns == saved
  assert {r["mode"] for r in rows_of(run) if r["labels"] == 6} == {"raw", "random", "knn:3", "frozen"}
  assert not (run / "figures/labels.png").exists()  # one number of labels has no curve, and the page shows none


def test_held_out_validation_and_several_learning_rates(finished, toy_npz):
  out, run = finished
  arguments = ["--validation=heldout:30", "--finetune_learning_rates=1e-3,1e-2", "--modes=scratch,frozen"]
  assert call("low_label", f"--dataset={toy_npz}", f"--out={out}", *TINY, *arguments) == 0
  rows = [r for r in rows_of(run) if r["settings"]["validation"] == "heldout:30"]
  assert len(rows) == 8
  assert all(r["chosen"]["validation_accuracy"] is not None for r in rows)
  assert {r["chosen"]["learning_rate"] for r in rows if r["mode"] == "scratch"} <= {1e-3, 1e-2}


def test_probe_restores_the_encoder_alone_and_exports(finished, tmp_path):
  _, run = finished
  features = tmp_path / "features.npz"
  arguments = [
    f"--checkpoint={run}",
    f"--out={tmp_path}",
    f"--export={features}",
    "--seeds=2",
    "--labels=12",
    "--smoke",
  ]
  assert call("probe", *arguments, "--modes=frozen,knn:3") == 0
  with np.load(features) as arrays:
    assert arrays["train_features"].shape == (240, 3 * 3 * 6)
    assert arrays["test_features"].shape == (90, 3 * 3 * 6)
    assert arrays["train_labels"].shape == (240,)
  mine = {(r["mode"], r["subset_seed"]): r["test_accuracy"] for r in rows_of(only_run(tmp_path))}
  theirs = {
    (r["mode"], r["subset_seed"]): r["test_accuracy"]
    for r in rows_of(run)
    if r["labels"] == 12 and r["settings"]["validation"] == "cv"
  }
  for seed in (0, 1):
    for mode in ("raw", "frozen"):
      assert mine[mode, seed] == theirs[mode, seed]


@pytest.mark.parametrize("method", ["autoencode", "rotation", "simclr", "supervised"])
def test_every_method_pretrains(method, toy_npz, tmp_path, capsys):
  arguments = [f"--method={method}", f"--dataset={toy_npz}", f"--out={tmp_path}", TINY[0], "--smoke"]
  assert call("pretrain", *arguments) == 0
  run = only_run(tmp_path)
  assert str(run) in capsys.readouterr().out
  assert (run / "figures" / "loss.png").exists()
  assert [d.name for d in (run / "checkpoints").iterdir() if d.name.isdecimal()] == [str(common.SMOKE_STEPS)]


def test_large_batches_go_on_where_they_stopped(toy_npz, tmp_path, capsys):
  """LARS, accumulated, in bfloat16: a second command restores it, another one is another run."""
  how = ["--optimizer=lars", "--accumulate=2", "--precision=bfloat16", "--pretraining_weight_decay=1e-6", "--epochs=9"]
  arguments = ["--method=simclr", f"--dataset={toy_npz}", f"--out={tmp_path}", TINY[0], "--smoke"]
  assert call("pretrain", *arguments, *how, "--warmup_epochs=1") == 0
  run = only_run(tmp_path)
  config = json.loads((run / "config.json").read_text())
  assert (config["optimizer"], config["accumulate"], config["precision"]) == ("lars", 2, "bfloat16")
  assert (config["weight_decay"], config["warmup_epochs"], config["learning_rate"]) == (1e-6, 1.0, 0.3)
  saved = (run / "checkpoints").stat().st_mtime_ns
  assert call("pretrain", *arguments, *how, "--warmup_epochs=1") == 0
  assert only_run(tmp_path) == run
  assert (run / "checkpoints").stat().st_mtime_ns == saved
  assert call("probe", f"--checkpoint={run}", f"--out={tmp_path / 'p'}", *TINY[1:], "--modes=frozen") == 0
  assert call("pretrain", *arguments, *how) == 0
  assert len([d for d in tmp_path.iterdir() if d.name.startswith("simclr")]) == 2


def test_the_default_command_on_mnist(mnist_dir, tmp_path):
  assert (
    call("low_label", f"--data_dir={mnist_dir}", f"--out={tmp_path}", "--smoke", "--seeds=1", "--modes=frozen") == 0
  )
  assert only_run(tmp_path).name.startswith("denoise-mnist-conv-")


def test_kill_and_run_again_is_bit_identical(toy_npz, tmp_path):
  def command(out: Path) -> list[str]:
    flags = [
      f"--dataset={toy_npz}",
      f"--out={out}",
      "--encoder=conv:widths=4,norm=batch",
      "--epochs=400",
      "--batch_size=32",
    ]
    return [sys.executable, "-m", "experiments.pretrain", *flags]

  environment = {**os.environ, "PYTHONPATH": str(Path(common.__file__).parents[1])}
  killed = subprocess.Popen([*command(tmp_path / "killed"), "--save_seconds=0.2"], env=environment)
  deadline = time.monotonic() + 120
  while not list((tmp_path / "killed").glob("*/checkpoints/[0-9]*")):
    assert killed.poll() is None, "it ended before it was killed"
    assert time.monotonic() < deadline
    time.sleep(0.02)
  killed.send_signal(signal.SIGKILL)
  killed.wait()
  for out in ("killed", "whole"):
    subprocess.run(command(tmp_path / out), env=environment, check=True)
  import sslx.checkpoint as checkpoint

  trees = [checkpoint.restore_encoder(only_run(tmp_path / out)) for out in ("killed", "whole")]
  assert trees[0][1]["digests"] == trees[1][1]["digests"]
  steps = [
    [json.loads(line)["step"] for line in (only_run(tmp_path / out) / "metrics.jsonl").read_text().splitlines()]
    for out in ("killed", "whole")
  ]
  assert steps[0][-1] == steps[1][-1] == 400 * (216 // 32)  # of 240 images 24 are watched
  assert steps[0] == sorted(set(steps[0]))


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
  (["--warmup_epochs=2"], r"--warmup_epochs=2: must be .* below the 2 of --epochs"),
  (["--pretraining_weight_decay=-1"], r"--pretraining_weight_decay=-1: must be at least 0"),
  (["--learning_rate=0"], r"--learning_rate=0.*positive"),
  (["--finetune_steps=0"], r"--finetune_steps=0: must be positive"),
  (["--finetune_learning_rates=a"], r"--finetune_learning_rates=a"),
  (["--image_size=0"], r"--image_size=0: must be positive"),
  (["--validation=some"], r"--validation=some: expected cv"),
  (["--validation=heldout:240"], r"--validation=heldout:240"),
  (["--dataset=mnst"], r"Did you mean 'mnist'|mnist"),
  (["--dataset=npz:/nowhere.npz"], r"/nowhere.npz"),
  (["--epochs=many"], r"--?epochs"),
  (["--epoch=3"], r"--epoch: no such flag. Did you mean --epochs"),
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


def test_an_unwritable_out_is_one_line(toy_npz, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  assert call("low_label", f"--dataset={toy_npz}", f"--out={tmp_path / 'file'}", *TINY) == 1
  assert re.search(r"^error: --out=\S+: cannot write there", capsys.readouterr().err)


def test_a_directory_of_another_configuration_is_refused(toy_npz, tmp_path, capsys):
  arguments = [f"--dataset={toy_npz}", f"--out={tmp_path}", TINY[0], "--smoke"]
  assert call("pretrain", *arguments) == 0
  config = only_run(tmp_path) / "config.json"
  config.write_text(config.read_text().replace('"seed": 0', '"seed": 1'))
  assert call("pretrain", *arguments) == 1
  assert "another configuration" in capsys.readouterr().err
  assert call("pretrain", *arguments, "--fresh") == 0


@pytest.mark.parametrize("checkpoint", ["", "/nowhere", "."])
def test_probe_without_a_checkpoint(checkpoint, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert call("probe", *([f"--checkpoint={checkpoint}"] if checkpoint else []), f"--out={tmp_path}") == 1
  assert "--checkpoint" in capsys.readouterr().err


def test_probe_refuses_images_of_another_shape(finished, tmp_path, capsys):
  _, run = finished
  images, labels = np.zeros((30, 10, 10, 1), np.uint8), np.arange(30) % 3
  np.savez(tmp_path / "other.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
  assert call("probe", f"--checkpoint={run}", f"--dataset=npz:{tmp_path / 'other.npz'}", f"--out={tmp_path}") == 1
  assert re.search(r"\(10, 10, 1\).*\(12, 12, 1\).*--image_size=12", capsys.readouterr().err)


def test_help_tells_flags_defaults_and_the_methods_hyper_parameters(capsys):
  assert call("low_label", "--help", "--method=simclr") == 0
  text = capsys.readouterr().out
  for flag in ("method", "dataset", "data_dir", "encoder", "features", "modes", "labels", "seeds", "epochs",
               "batch_size", "learning_rate", "optimizer", "accumulate", "precision", "warmup_epochs",
               "pretraining_weight_decay", "hp", "out", "fresh", "smoke", "debug"):  # fmt: skip
    assert f"--{flag}" in text
  assert "temperature=" in text
  assert "python -m experiments.low_label" in text


def test_debug_shows_the_traceback(toy_npz, tmp_path, capsys):
  assert call("low_label", f"--dataset={toy_npz}", f"--out={tmp_path}", "--method=x", "--debug") == 1
  assert "Traceback" in capsys.readouterr().err


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
  experiments._use_huge_pages()
  if not again:
    assert started == []
    return
  ((path, arguments, environment),) = started
  assert (path, arguments) == (sys.executable, [sys.executable, *argv[1:]])
  assert environment == {"HOME": "/home/someone", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def test_the_compilation_cache_is_off_unless_asked_for(finished, toy_npz, tmp_path, monkeypatch):
  import jax

  monkeypatch.setattr(Path, "home", lambda: tmp_path)
  assert call("pretrain", f"--dataset={toy_npz}", f"--out={tmp_path / 'a'}", *TINY[:1], "--smoke") == 0
  assert not (tmp_path / ".cache").exists()
  before = {
    n: getattr(jax.config, n) for n in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
  }
  try:
    common.use_compilation_cache(tmp_path / "cache")
    folder = Path(jax.config.jax_compilation_cache_dir)
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
  assert folder.parent == tmp_path / "cache"
  assert folder.name.startswith(f"jaxlib-{jax.lib.__version__}-")
