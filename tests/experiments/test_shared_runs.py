"""Run directories and pretraining: every method, large batches, a kill and a second call, directories of other runs."""

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import call, directory, rows_of

from experiments.shared import cli, fits, runs
from sslx.data import Dataset, LazyArray, Split
from sslx.data.types import image_classes, sound_classes
from sslx.training import checkpoint
from sslx.training.config import Config
from sslx.training.run import Meta
from sslx.types import UserError

ENCODER = "--encoder=conv:widths=4-6,norm=none"
ROOT = Path(cli.__file__).parents[2]


@pytest.mark.parametrize("method", ["autoencode", "rotation", "simclr", "supervised"])
def test_every_method_pretrains(method, toy_npz, tmp_path, capsys):
  arguments = [f"--method={method}", f"--dataset={toy_npz}", f"--out={tmp_path}", ENCODER, "--smoke"]
  assert call("pretrain", *arguments) == 0
  run = directory(tmp_path)
  assert str(run) in capsys.readouterr().out
  assert (run / "figures" / "loss.png").exists()
  assert [d.name for d in (run / "checkpoints").iterdir() if d.name.isdecimal()] == [str(cli.SMOKE_STEPS)]


def test_large_batches_go_on_where_they_stopped(toy_npz, tmp_path):
  """LARS, accumulated, in bfloat16: a second command restores it, another one is another run."""
  how = ["--optimizer=lars", "--accumulate=2", "--precision=bfloat16", "--pretraining_weight_decay=1e-6", "--epochs=9"]
  views = "--hp=views=digits:degrees=0,scale=0,shear=0,elastic=0,contrast=0"  # shifts alone compile soon
  arguments = ["--method=simclr", "--encoder=conv:widths=4,norm=none", "--hp=projector=4", views, "--batch_size=16"]
  arguments += [f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke"]
  assert call("pretrain", *arguments, *how, "--warmup_epochs=1") == 0
  run = directory(tmp_path)
  config = json.loads((run / "config.json").read_text())
  assert (config["optimizer"], config["accumulate"], config["precision"]) == ("lars", 2, "bfloat16")
  assert (config["weight_decay"], config["warmup_epochs"]) == (1e-6, 1.0)
  assert config["learning_rate"] == pytest.approx(0.3 * 16 / 256)
  saved = (run / "checkpoints").stat().st_mtime_ns
  assert call("pretrain", *arguments, *how, "--warmup_epochs=1") == 0
  assert directory(tmp_path) == run
  assert (run / "checkpoints").stat().st_mtime_ns == saved
  assert call("probe", f"--checkpoint={run}", f"--out={tmp_path / 'p'}", "--seeds=2", "--labels=12", "--smoke",
              "--modes=frozen") == 0  # fmt: skip
  assert call("pretrain", *arguments, *how) == 0
  assert len([d for d in tmp_path.iterdir() if d.name.startswith("simclr")]) == 2


def test_workers_reach_the_loop_and_are_no_part_of_the_run(toy_npz, tmp_path, monkeypatch, capsys):
  def fit(ts, step, data, how, hooks=()):
    raise UserError(f"{how.workers} workers")

  monkeypatch.setattr("sslx.training.loop.fit", fit)
  for workers in (0, 3):
    given = [f"--dataset={toy_npz}", f"--out={tmp_path}", "--encoder=conv:widths=4", f"--workers={workers}"]
    assert call("pretrain", *given) == 1
    assert f"error: {workers} workers" in capsys.readouterr().err
  assert len(list(tmp_path.glob("denoise*"))) == 1
  assert call("pretrain", *given, "--workers=-1") == 2


KILLED = """
import os, signal, sys
from experiments import pretrain
from experiments.shared import cli
from sslx.report import records

append = records.append_row

def append_and_die(path, row):
  append(path, row)
  if row["step"] == 105:
    os.kill(os.getpid(), signal.SIGKILL)

records.append_row = append_and_die
cli.run(pretrain.main, "experiments.pretrain", sys.argv)
"""


def test_kill_and_run_again_is_bit_identical(toy_npz, tmp_path):
  """Killed after a row that is beyond the last checkpoint; the second call goes on in another process."""

  def flags(out: str) -> list[str]:
    given = [f"--dataset={toy_npz}", "--encoder=conv:widths=4,norm=batch", "--epochs=25", "--batch_size=32"]
    return [*given, f"--out={tmp_path / out}"]

  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  command = [sys.executable, "-c", KILLED, *flags("killed"), "--save_seconds=0.05"]
  killed = subprocess.run(command, env=environment, check=False)
  assert killed.returncode == -signal.SIGKILL
  saved = checkpoint.steps(directory(tmp_path / "killed") / "checkpoints")
  assert saved
  assert max(saved) < 105
  for out in ("killed", "whole"):
    assert call("pretrain", *flags(out)) == 0
  trees = [checkpoint.restore_encoder(directory(tmp_path / out)) for out in ("killed", "whole")]
  assert trees[0][1]["digests"] == trees[1][1]["digests"]
  rows = [
    [json.loads(line) for line in (directory(tmp_path / out) / "metrics.jsonl").read_text().splitlines()]
    for out in ("killed", "whole")
  ]
  steps = [[row["step"] for row in history] for history in rows]
  assert steps[0][-1] == steps[1][-1] == 25 * (216 // 32)  # of 240 images 24 are watched
  assert steps[0] == steps[1] == list(range(15, 151, 15))
  assert rows[0][-1]["heldout_loss"] == rows[1][-1]["heldout_loss"]


def cut(folder: Path) -> None:
  path = max(folder.rglob("*"), key=lambda path: path.stat().st_size)
  os.truncate(path, path.stat().st_size // 2)


def flip(folder: Path) -> None:
  path = folder / "meta/metadata"
  path.write_text(path.read_text().replace("denoise", "denoisd"))


def empty(folder: Path) -> None:
  shutil.rmtree(folder)
  folder.mkdir()


def test_a_run_goes_on_after_damage_and_is_the_same_run(toy_npz, tmp_path, caplog):
  """It trained, said "already holds step 6" at its end, and so for ever."""
  arguments = [f"--dataset={toy_npz}", f"--out={tmp_path}", "--encoder=conv:widths=4,norm=batch", "--smoke"]
  assert call("pretrain", *arguments, "--save_seconds=0") == 0
  run, last = directory(tmp_path), cli.SMOKE_STEPS
  whole = checkpoint.restore_encoder(run)[1]
  for harm in (cut, flip, empty):
    harm(run / "checkpoints" / str(last))
    caplog.clear()
    assert call("pretrain", *arguments) == 0
    assert caplog.text.count(f"is set aside as {last}.damaged") == 1
    assert checkpoint.restore_encoder(run)[1] == whole
    assert checkpoint.steps(run / "checkpoints") == [last - 1, last]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1
  aside = sorted(path.name for path in (run / "checkpoints").glob("*.damaged*"))
  assert aside == [f"{last}.damaged", f"{last}.damaged.2", f"{last}.damaged.3"]


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "loss.png", "results.jsonl", "accuracy.png",
                                  "summary.jsonl", "report.html"])  # fmt: skip
def test_a_full_disk_is_one_line_wherever(name, tmp_path, finished, monkeypatch, capfd):
  """The file of this name is the one for which there is no room; what was there before it stays."""
  out, arguments = shutil.copytree(finished[0], tmp_path / "runs"), finished[1]
  run = directory(out)
  if name in ("config.json", "metrics.jsonl", "loss.png"):  # of pretraining: another run
    arguments = [*arguments, "--seed=1"]
  else:
    (run / name).unlink(missing_ok=True)
  before = {path: path.read_bytes() for path in run.rglob("*.jsonl")}
  fsync = os.fsync

  def full(number):
    if name in os.readlink(f"/proc/self/fd/{number}"):
      raise OSError(errno.ENOSPC, "No space left on device")
    fsync(number)

  monkeypatch.setattr(os, "fsync", full)
  assert call("low_label", *arguments, f"--out={out}") == 1
  (line,) = [line for line in capfd.readouterr().err.splitlines() if "error" in line.lower()]
  assert "No space left on device" in line
  assert name == "config.json" or name in line
  assert {path: path.read_bytes() for path in before} == before
  if name in ("accuracy.png", "summary.jsonl", "report.html"):
    assert (run / "results.jsonl").read_bytes() == (directory(finished[0]) / "results.jsonl").read_bytes()
  assert not [path for path in out.rglob(".*.tmp")]


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory):
  """A finished run of low_label: (--out, its flags)."""
  out = tmp_path_factory.mktemp("finished")
  arguments = [f"--dataset={toy_npz}", "--encoder=mlp:widths=4,code=3", "--smoke", "--labels=12", "--seeds=1",
               "--modes=frozen"]  # fmt: skip
  assert call("low_label", *arguments, f"--out={out}") == 0
  return out, arguments


def test_a_comparison_does_not_go_on_without_a_method_because_of_the_disk(toy_npz, tmp_path, monkeypatch, capsys):
  def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "save", full)
  arguments = [f"--dataset={toy_npz}", f"--out={tmp_path}", ENCODER, "--methods=denoise", "--smoke", "--labels=12"]
  assert call("compare", *arguments, "--seeds=1", "--modes=frozen") == 1
  assert re.search(r"^error: --out: cannot save.*No space left", capsys.readouterr().err, re.MULTILINE)


def test_a_directory_that_is_opened_is_swept(toy_npz, tmp_path):
  identity = {"a": 1}
  run = runs.open_directory(tmp_path, identity, "x", fresh=False)
  (run / f".metrics.jsonl.{2**70}.tmp").touch()
  assert runs.open_directory(tmp_path, identity, "x", fresh=False) == run
  assert sorted(path.name for path in run.iterdir()) == [".lock", "config.json"]


def test_an_unwritable_out_is_one_line(toy_npz, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  assert call("pretrain", f"--dataset={toy_npz}", f"--out={tmp_path / 'file'}", ENCODER, "--smoke") == 1
  assert re.search(r"^error: --out=\S+: cannot write there", capsys.readouterr().err)


def test_a_directory_of_another_configuration_is_refused(toy_npz, tmp_path, capsys):
  arguments = [f"--dataset={toy_npz}", f"--out={tmp_path}", ENCODER, "--smoke"]
  assert call("pretrain", *arguments) == 0
  config = directory(tmp_path) / "config.json"
  config.write_text(config.read_text().replace('"seed": 0', '"seed": 1'))
  assert call("pretrain", *arguments) == 1
  assert "another configuration" in capsys.readouterr().err
  assert call("pretrain", *arguments, "--fresh") == 0


# --smoke


def sorted_by_class(toy: Dataset, times: int, unlabeled: bool = False) -> Dataset:
  """The toy set `times` over, sorted by class, as many files are."""

  def split(part: Split) -> Split:
    y = np.tile(part.targets(), times)
    order = np.argsort(y, kind="stable")
    return Split(np.tile(part.x, (times, 1, 1, 1))[order], y[order])

  train, test = split(toy.train), split(toy.test)
  return image_classes("sorted", toy.task.names, train, test, Split(train.x, None) if unlabeled else None)


def test_smoke_draws_as_many_of_each_class(toy):
  dataset = sorted_by_class(toy, 10, unlabeled=True)
  first, again = runs.small(dataset), runs.small(dataset)
  assert first.split_sizes == {"train": 600, "test": 300, "unlabeled": 300}
  for split, n in ((first.train, 200), (first.test, 100)):
    assert np.bincount(split.targets()).tolist() == [n, n, n]
  for part in ("train", "test", "unlabeled"):
    np.testing.assert_array_equal(getattr(first, part).x, getattr(again, part).x)  # a second command finds its run
  assert first.unlabeled is not None
  np.testing.assert_array_equal(first.unlabeled.x, dataset.train.x[::8])  # at even distances
  pairs = {(x.tobytes(), int(y)) for x, y in zip(dataset.train.x, dataset.train.targets(), strict=True)}
  assert {(x.tobytes(), int(y)) for x, y in zip(first.train.x, first.train.targets(), strict=True)} <= pairs


def test_smoke_takes_small_sets_whole_and_one_of_each_of_many_classes(toy):
  whole = runs.small(toy)
  np.testing.assert_array_equal(whole.train.x, toy.train.x)
  np.testing.assert_array_equal(whole.test.y, toy.test.y)
  y = np.repeat(np.arange(700, dtype=np.int32), 2)
  many = Split(np.zeros((1400, 2, 2, 1), np.uint8), y)
  made = runs.small(image_classes("many", list(map(str, range(700))), many, many))
  assert sorted(made.train.targets()) == sorted(made.test.targets()) == list(range(700))


def test_smoke_stays_lazy_where_it_reads_nothing(toy):
  read = []
  big = sorted_by_class(toy, 10)

  def fetch(rows):
    read.append(len(rows))
    return big.train.x[rows]

  lazy = LazyArray(big.train.x.shape, fetch, big.train.x.dtype)
  made = runs.small(dataclasses.replace(big, train=Split(lazy, big.train.y)))
  assert sum(read) == 600
  assert np.bincount(made.train.targets()).tolist() == [200, 200, 200]


def test_what_smoke_draws_keeps_the_rules_of_data(toy):
  bad = dataclasses.replace(toy, test=Split(toy.test.x[:, :5], toy.test.y))
  with pytest.raises(UserError, match="train images are 12x12x1 but test images are 5x12x1"):
    runs.small(bad)


# where a data set is


@pytest.fixture
def relative(toy_npz, tmp_path, monkeypatch):
  """The run of `--dataset=npz:data/toy.npz`, made in the folder that holds data/: (that folder, run directory)."""
  home = tmp_path / "home"
  (home / "data").mkdir(parents=True)
  shutil.copy(toy_npz.removeprefix("npz:"), home / "data/toy.npz")
  monkeypatch.chdir(home)
  assert call("pretrain", *RELATIVE) == 0
  return home, directory(home / "runs")


RELATIVE = ["--dataset=npz:data/toy.npz", "--encoder=mlp:widths=4,code=3", "--smoke"]
PROBED = ["--labels=12", "--seeds=1", "--modes=frozen", "--smoke"]


def test_a_checkpoint_knows_where_its_data_are(relative, tmp_path, monkeypatch):
  home, run = relative
  assert json.loads((run / "config.json").read_text())["dataset"] == "npz:data/toy.npz"  # what it is called stays
  assert call("pretrain", *RELATIVE) == 0
  assert call("probe", f"--checkpoint={run}", *PROBED, "--out=probes") == 0
  (tmp_path / "elsewhere").mkdir()
  monkeypatch.chdir(tmp_path / "elsewhere")
  assert call("probe", f"--checkpoint={run}", *PROBED, f"--out={home / 'probes'}") == 0
  assert directory(home / "probes").name.startswith("probe-denoise-npz-data-toy.npz-")  # the same one, from everywhere
  assert len(rows_of(directory(home / "probes"))) == 3  # raw, random, frozen: found again, and not made twice
  assert call("pretrain", *RELATIVE) == 1  # but a name is read where it is said


@pytest.mark.parametrize("older", [False, True], ids=["of today", "without a place"])
def test_data_that_are_gone_are_the_checkpoints(older, relative, toy_npz, tmp_path, monkeypatch, capsys):
  home, run = relative
  if older:
    monkeypatch.setattr(Meta, "place", "")
    monkeypatch.chdir(tmp_path)
    place = "npz:data/toy.npz"
  else:
    (home / "data/toy.npz").unlink()
    place = f"npz:{home / 'data/toy.npz'}"
  capsys.readouterr()
  assert call("probe", f"--checkpoint={run}", *PROBED, "--out=probes") == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line == (
    f"error: --checkpoint={run} was made on {place}, which is not there any more: name it with --dataset."
  )
  assert call("probe", f"--checkpoint={run}", f"--dataset={toy_npz}", *PROBED, "--out=probes") == 0


def test_only_a_place_that_the_name_does_not_say_is_kept():
  meta = Meta(Config(method="denoise"), "flatten", "image", "classification", ("a", "b"))
  assert "place" not in meta.to_json()
  kept = meta._replace(place="npz:/data/x.npz")
  assert Meta.read(json.loads(json.dumps(kept.to_json()))) == kept
  assert Meta.read(meta.to_json()) == meta


# too large


def test_what_is_too_large_is_told_before_a_directory_is_made(toy_npz, tmp_path, capsys):
  for experiment in ("pretrain", "low_label", "compare"):
    given = [f"--dataset={toy_npz}", f"--out={tmp_path}", "--encoder=mlp:widths=1000000-1000000", "--smoke"]
    assert call(experiment, *given, *(["--methods=denoise"] if experiment == "compare" else [])) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"error: --encoder=mlp:widths=1000000-1000000: has 1e\+12 parameters; .*--max_parameters", line)
    assert not list(tmp_path.glob("*/checkpoints"))
  assert not [d for d in tmp_path.iterdir() if not d.name.startswith("compare")]


def test_the_limit_of_the_size_is_a_flag(toy_npz, tmp_path, capsys):
  given = [f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke", "--encoder=mlp:widths=4,code=3"]
  assert call("pretrain", *given, "--max_parameters=100") == 1
  assert "--encoder=mlp:widths=4,code=3: has 595 parameters" in capsys.readouterr().err
  assert call("pretrain", *given, "--max_parameters=600", "--hp=decoder_widths=1000") == 1
  assert re.search(r"--method=denoise: its decoder has 1[0-9]{2},[0-9]+ parameters", capsys.readouterr().err)
  assert call("pretrain", *given, "--max_parameters=200000") == 0


@pytest.mark.parametrize(
  ("made", "message"),
  [
    ({"modality": "image"}, "is sound, this encoder was made for image"),
    ({"rate": 16_000}, "recordings have 8000 samples a second, .* made for 16000; give --sample_rate=16000"),
    ({"x_shape": (4000,)}, r"recordings are \(8000,\), .* made for \(4000,\); try --seconds=0.5"),
  ],
)
def test_a_checkpoint_of_other_sound_says_which_flag_fits(made, message):
  x, y = np.ones((4, 8000), np.int16), np.array([0, 1, 0, 1], np.int32)
  dataset = sound_classes("digits", 8000, "ab", Split(x, y), Split(x, y))
  said = {"modality": "sound", "rate": 8000, "x_shape": (8000,)}
  fits.check_fits(dataset, meta_of(**said))
  with pytest.raises(UserError, match=f"--dataset=digits: .*{message}"):
    fits.check_fits(dataset, meta_of(**said | made))


def meta_of(modality, rate, x_shape):
  config = SimpleNamespace(rate=rate, x_shape=x_shape)
  return SimpleNamespace(modality=modality, config=config, vocabulary=None)
