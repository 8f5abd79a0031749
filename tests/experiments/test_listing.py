"""The list of all experiments, and launch.sh, which shows it and takes the names in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from experiments import __main__ as listing

ROOT = Path(experiments.__file__).parents[1]


def test_the_list_names_every_module_that_can_be_run():
  folder = ROOT / "experiments"
  files = {path.stem for path in folder.glob("[!_]*.py")}
  packages = {path.parent.name for path in folder.glob("*/__main__.py")}
  assert sorted(listing.names()) == sorted(files | packages)


def test_the_list_has_a_line_of_80_columns_for_each():
  lines = listing.listing().splitlines()
  assert max(map(len, lines)) <= 80
  for name in [*listing.names(), "test", "docs"]:
    (line,) = [line for line in lines if line.startswith(f"  {name} ")]
    _, time, what = line.split(maxsplit=2)
    assert time.startswith("~")
    assert what.endswith((".", "?"))
  assert lines[-1].startswith("./launch.sh low_label --help")


def test_the_list_needs_nothing_but_python():
  """Without the packages that are installed."""
  command = [sys.executable, "-S", "-P", "-m", "experiments"]
  done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
  assert done.stdout == listing.listing() + "\n"


@pytest.mark.parametrize(
  ("argument", "said"),
  [
    ("lowlabel", "there is none of this name. Did you mean low_label?"),
    ("experiments.prob", "Did you mean probe?"),
    ("benchmarks.simclrs", "Did you mean benchmarks.simclr"),
    ("zzz", "there is none of this name. ./launch.sh lists all."),
    ("experiments/low_label.py", "write ./launch.sh low_label instead."),
    ("a\x1b[31m", "error: a\\x1b[31m: "),
  ],
)
def test_a_wrong_name_is_one_line_with_the_nearest(argument, said, capsys):
  assert listing.main([argument]) == 2
  captured = capsys.readouterr()
  assert captured.out == ""
  (line,) = captured.err.splitlines()
  assert said in line


def test_without_launch_sh_it_is_python_that_is_called(monkeypatch, tmp_path):
  monkeypatch.setattr(experiments, "LAUNCHER", tmp_path / "launch.sh")
  assert experiments.called("low_label") == "python -m experiments.low_label"
  assert experiments.called() == "python -m experiments"


# ---- launch.sh -------------------------------------------------------------------------------------------------------


def launched(venv: Path, *arguments: str) -> subprocess.CompletedProcess:
  """What launch.sh does with an environment in `venv`, which there may not be."""
  changed = {"SSLX_VENV": str(venv), "PYTHON": sys.executable, "PYTHONPATH": ""}
  command = [ROOT / "launch.sh", *arguments]
  return subprocess.run(command, env={**os.environ, **changed}, capture_output=True, text=True, check=False)


@pytest.fixture
def venv(tmp_path: Path) -> Path:
  """An environment that is set up, whose Python says what it is called with."""
  (tmp_path / "bin").mkdir()
  python = tmp_path / "bin/python"
  python.write_text('#!/bin/sh\necho "$@"\n')
  python.chmod(0o755)
  with (ROOT / "pyproject.toml").open() as file:
    checksum = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True, check=True).stdout
  (tmp_path / ".sslx-stamp").write_text(f"{checksum}docs,test\n")
  return tmp_path


@pytest.mark.parametrize("arguments", [(), ("experiments",), ("--extras=test",)])
def test_launch_sh_alone_lists_the_experiments_with_nothing_installed(arguments, tmp_path):
  done = launched(tmp_path / "venv", *arguments)
  assert (done.returncode, done.stdout, done.stderr) == (0, listing.listing() + "\n", "")
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("arguments", "called"),
  [
    (["low_label", "--method=simclr", "a b"], "-P -m experiments.low_label --method=simclr a b"),
    (["experiments.low_label", "--help"], "-P -m experiments.low_label --help"),
    (["one_percent"], "-P -m experiments.one_percent"),
    (["experiments.one_percent.__main__"], "-P -m experiments.one_percent.__main__"),
    (["benchmarks.memory"], "-P -m benchmarks.memory"),
    (["--extras=docs", "probe"], "-P -m experiments.probe"),
    (["json.tool", "--help"], "-P -m json.tool --help"),
    (["test", "-x"], "-m pytest -n 2 --dist loadgroup -x"),
    (["experiments"], "-S -P -m experiments"),
  ],
  ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_launch_sh_calls(arguments, called, venv):
  done = launched(venv, *arguments)
  assert (done.returncode, done.stdout, done.stderr) == (0, called + "\n", "")


@pytest.mark.parametrize("name", listing.names())
def test_launch_sh_takes_every_name_of_the_list(name, venv):
  assert launched(venv, name).stdout == f"-P -m experiments.{name}\n"


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("lowlabel", "error: lowlabel: there is none of this name. Did you mean low_label?"),
    ("experiments.probes", "Did you mean probe?"),
    ("benchmarks.memry", "Did you mean benchmarks.memory or"),
    ("shared", "there is none of this name."),
    ("flags", "there is none of this name."),
    ("experiments/probe.py", "write ./launch.sh probe instead."),
  ],
)
def test_launch_sh_refuses_a_wrong_name_before_it_installs_anything(name, said, tmp_path):
  done = launched(tmp_path / "venv", name, "--method=simclr")
  assert (done.returncode, done.stdout) == (2, "")
  (line,) = done.stderr.splitlines()
  assert said in line
  assert not list(tmp_path.iterdir())


def test_help_of_launch_sh(tmp_path):
  for form in ("-h", "--help"):
    done = launched(tmp_path / "venv", form)
    assert done.returncode == 0
    assert "./launch.sh low_label --help" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
  assert launched(tmp_path / "venv", "--halp").returncode == 2
