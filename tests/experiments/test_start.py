"""A command says at once what it does, and only a command does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.shared import cli

ROOT = Path(cli.__file__).parents[2]


def stderr(*arguments: str, **changed: str) -> list[str]:
  kept = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
  environment = {**kept, "PYTHONPATH": str(ROOT), **changed}
  done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
  return done.stderr.splitlines()


@pytest.mark.parametrize("changed", [{}, {"GLIBC_TUNABLES": ""}], ids=["started again", "by launch.sh"])
def test_the_first_line_comes_before_the_slow_imports_and_once(changed):
  lines = stderr("-X", "importtime", "-m", "experiments.rotnet_mnist", "--nonsense=1", **changed)
  said = [line for line in lines if "import time:" not in line]
  assert [line.rpartition(", ")[2] for line in said[:1]] == ["rotnet_mnist: loading JAX ..."]
  assert said[0].startswith("sslx ")
  assert len(said) == 2
  assert "--nonsense" in said[1]
  imported = [line.rpartition("|")[2].strip() for line in lines[: lines.index(said[0])]]
  assert not {"jax", "numpy", "absl.flags"} & {*imported}
  assert "importlib.metadata" in imported  # these are the imports


@pytest.mark.parametrize("argument", ["--help", "-h", "--help=true"])
def test_help_is_help_alone(argument):
  assert stderr("-m", "experiments.low_label", argument, GLIBC_TUNABLES="") == []


def test_who_imports_experiments_is_told_nothing():
  assert stderr("-c", "from experiments import low_label") == []
