"""Run directories: one process at a time, what an older sslx wrote, damaged ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import call, directory

from experiments.shared import cli, command, directories
from sslx.types import UserError

ROOT = Path(cli.__file__).parents[2]
HOLDING = """
import sys
from pathlib import Path
from experiments.shared import directories

with directories.locked(Path(sys.argv[1])):
  print("held", flush=True)
  sys.stdin.read()
"""


def opened(out: Path, identity: dict, fresh: bool = False) -> Path:
  return directories.open_directory(out, identity, "run", fresh)


@pytest.fixture
def arguments(toy_npz, tmp_path) -> list[str]:
  return [f"--dataset={toy_npz}", f"--out={tmp_path}", "--encoder=mlp:widths=4,code=3", "--smoke"]


def test_another_process_is_kept_out_until_this_one_ends(arguments, tmp_path, capsys):
  """Also with --fresh, before anything is deleted; no lock is left by a process that dies, or by a command."""
  pytest.importorskip("fcntl")
  assert call("pretrain", *arguments) == 0
  run = directory(tmp_path)
  before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != directories.LOCK}
  with directories.locked(run):
    pass  # the command has let go of it
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
  with subprocess.Popen([sys.executable, "-c", HOLDING, str(run)], **pipes) as other:
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    for more in ([], ["--fresh"]):
      capsys.readouterr()
      assert call("pretrain", *arguments, *more) == 1
      (line,) = capsys.readouterr().err.splitlines()
      assert line == (
        f"error: {run}: another process (pid {other.pid}) works here; wait for it, or name another --out."
      )
    assert {path: path.read_bytes() for path in before} == before
    other.kill()
  assert call("pretrain", *arguments) == 0


def test_a_command_opens_a_directory_again_and_empties_it_once(tmp_path):
  with command.running():
    run = opened(tmp_path, {"a": 1}, fresh=True)
    (run / "kept").write_text("")
    assert opened(tmp_path, {"a": 1}, fresh=True) == run
    assert (run / "kept").exists()
    other = opened(tmp_path, {"a": 2})
    if sys.platform != "win32":
      for held in (run, other):
        with (
          pytest.raises(UserError, match=rf"{held}: another process \(pid {os.getpid()}\)"),
          directories.locked(held),
        ):
          pass
  for held in (run, other):
    with directories.locked(held):
      pass
  lock = (run / directories.LOCK).stat().st_ino
  (run / "folder").mkdir()
  with command.running():
    opened(tmp_path, {"a": 1}, fresh=True)
  assert {path.name for path in run.iterdir()} == {directories.LOCK, "config.json"}
  assert (run / directories.LOCK).stat().st_ino == lock  # another file would be another lock


def test_a_lock_goes_with_an_error(tmp_path):
  def failing() -> None:
    made.append(opened(tmp_path, {}))
    raise ZeroDivisionError

  made: list[Path] = []
  with pytest.raises(ZeroDivisionError):
    cli.run(failing, "experiments.pretrain", ["pretrain"])
  with directories.locked(made[0]):
    pass


@pytest.mark.parametrize("text", ["{", "7", "[]", "\udcff"])
def test_a_damaged_config_is_one_line(text, tmp_path):
  run = opened(tmp_path, {"a": 1})
  (run / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
  with pytest.raises(UserError, match=r"config\.json: damaged; use --fresh"):
    opened(tmp_path, {"a": 1})
  assert json.loads((opened(tmp_path, {"a": 1}, fresh=True) / "config.json").read_text()) == {"a": 1}


def test_only_an_absent_digest_is_no_difference():
  new = {"dataset": "d", "pretraining": {"data_digest": "x", "hp": [1]}}
  agrees = directories.agrees
  assert agrees(new, new)
  for same in (
    {"dataset": "d", "pretraining": {"hp": [1]}},
    {"dataset": "d", "pretraining": {"data_digest": "", "hp": [1]}},
  ):
    assert agrees(same, new)
  for other in (
    {"dataset": "d", "pretraining": {"data_digest": "y", "hp": [1]}},
    {"dataset": "d", "pretraining": {"hp": [2]}},
    {"dataset": "d", "pretraining": None},
    {"dataset": "d"},
    {**new, "more": 1},
  ):
    assert not agrees(other, new)
  assert agrees({"compare": [{"data_digest": ""}]}, {"compare": [{"data_digest": "x"}]})
  assert not agrees({"compare": []}, {"compare": [{"data_digest": "x"}]})


def test_what_is_made_once_is_made_once_a_command(capsys):
  made = []
  for _ in range(2):
    with command.running():
      for _ in range(3):
        assert command.once("name", lambda: made.append(0) or len(made)) == len(made)
        command.say_once("a line")
  assert len(made) == 2
  assert capsys.readouterr().err == "a line\n" * 2
  assert [command.once("name", lambda: 1) for _ in range(2)] == [1, 1]  # outside of a command
