"""What the terminal, the environment and the hardware refuse: one line, whatever is in the way."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import call

import sslx
from experiments.shared import cli, interrupt, machine
from sslx import report
from sslx.compile import check_floats
from sslx.report import terminal
from sslx.types import UserError

ROOT = Path(cli.__file__).parents[2]
PROGRAM = ["-m", "experiments.low_label"]
GREETING = "low_label: loading JAX ..."
ESC, TURNED = "\x1b[31m", "\u202egpj.exe"


def environment(**changed: str) -> dict[str, str]:
  """Of a user: what the tests set for themselves is left out."""
  left_out = ("XLA_FLAGS", "JAX_PLATFORMS", "GLIBC_TUNABLES")
  kept = {name: value for name, value in os.environ.items() if name not in left_out}
  return {**kept, "PYTHONPATH": str(ROOT), **changed}


def ran(*arguments: str, program: Sequence[str] = PROGRAM, **changed: str) -> tuple[int, str, str]:
  """(exit status, stdout, stderr) of a command."""
  done = subprocess.run(
    [sys.executable, *program, *arguments], env=environment(**changed), capture_output=True, check=False
  )
  return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("module", ["experiments", "jax._src.core"])
def test_ctrl_c_while_everything_is_imported_is_one_line(module, tmp_path):
  """The signal comes when `module` has just been imported, in the process that took the first one's place for the huge
  pages of Linux.
  """
  # What a shell runs in the background, as these tests may be, ignores SIGINT, and so would its children.
  start = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"
  command = [sys.executable, "-c", start, sys.executable, "-X", "importtime", *PROGRAM, f"--out={tmp_path}"]
  with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
    assert process.stderr
    lines = []
    for line in process.stderr:
      if line.rpartition("|")[2].strip() == module:
        process.send_signal(signal.SIGINT)
      elif "import time:" not in line:
        lines.append(line)
  assert lines[1:] == ["interrupted; nothing was begun.\n"]
  assert GREETING in lines[0]
  assert process.returncode == 130
  assert not list(tmp_path.iterdir())


def test_ctrl_c_is_left_to_others_where_experiments_are_no_program():
  code = "import signal; before = signal.getsignal(2); import experiments; assert signal.getsignal(2) is before"
  assert ran(program=["-c", code]) == (0, "", "")


def test_ctrl_c_in_an_experiment_is_its_own_again():
  handler = signal.getsignal(signal.SIGINT)
  try:
    signal.signal(signal.SIGINT, interrupt.stop)
    assert cli.run(lambda: signal.raise_signal(signal.SIGINT), "experiments.low_label", ["low_label"]) == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
  finally:
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"JAX_PLATFORMS": "cuda,nonsense"}, "JAX_PLATFORMS=cuda,nonsense: JAX cannot use that here"),
    ({"XLA_FLAGS": "--xla_nonsense=1"}, "XLA_FLAGS=--xla_nonsense=1: XLA refuses it (Unknown flag"),
  ],
  ids=lambda value: "" if isinstance(value, str) else "".join(value.values()),
)
def test_what_jax_cannot_start_with_is_named(changed, message, tmp_path):
  status, out, err = ran(f"--out={tmp_path}", **changed)
  assert (status, out) == (1, ""), err
  greeting, line = err.splitlines()
  assert GREETING in greeting
  assert line.startswith("error: ")
  assert message in line
  assert not list(tmp_path.iterdir())


def test_float64_is_refused_in_python_too(toy, tmp_path):
  check_floats()
  jax.config.update("jax_enable_x64", True)
  try:
    for function in (check_floats, lambda: sslx.pretrain("denoise", toy), lambda: sslx.load(tmp_path)):
      with pytest.raises(UserError, match=r"^JAX_ENABLE_X64: sslx computes in float32"):
        function()
    assert cli.run(lambda: None, "experiments.low_label", ["low_label"]) == 1
  finally:
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize(
  "error",
  [
    MemoryError(),
    MemoryError("Unable to allocate 3.00 TiB for an array"),
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\n\nbuffers: ..."),
  ],
)
def test_too_little_memory_is_one_line_that_names_the_flags(error, capsys):
  def main():
    raise error

  assert cli.run(main, "experiments.low_label", ["low_label"]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("error: out of memory")
  assert "--batch_size" in line
  assert "--accumulate" in line


def test_a_fault_of_the_program_is_no_line():
  for error in (ValueError("x"), jax.errors.JaxRuntimeError("INTERNAL: x"), AssertionError()):
    assert machine.reason(error) is None


SAYING = """
from experiments.shared import cli
def main():
  cli.tell("mean ± 1 \\u2191")
  cli.say("caf\\u00e9")
  raise cli.UserError("\\u6570")
raise SystemExit(cli.run(main, "experiments.low_label", ["low_label"]))
"""


def test_a_terminal_without_a_character_gets_its_escape():
  status, out, err = ran(program=["-c", SAYING], PYTHONIOENCODING="ascii")
  assert (status, out, err) == (1, "mean \\xb1 1 \\u2191\n", "caf\\xe9\nerror: \\u6570\n")


def test_nothing_that_is_said_moves_the_cursor(capsys):
  name = f"{ESC}[red]{TURNED}"

  def main():
    cli.tell(f"Report: /runs/{name}")
    cli.say(f"target: {name}")
    raise UserError(f"--dataset=folder:{name}: no such folder")

  assert cli.run(main, "experiments.low_label", ["low_label"]) == 1
  seen, shown = capsys.readouterr(), r"\x1b[31m[red]\u202egpj.exe"
  assert seen.out == f"Report: /runs/{shown}\n"
  assert seen.err == f"target: {shown}\nerror: --dataset=folder:{shown}: no such folder\n"
  for arguments in ([name], [f"--{name}=1"], [f"--epochs={name}"], [f"--method={name}"]):
    cli.run(cli.config, "experiments.low_label", ["low_label", *arguments])
    err = capsys.readouterr().err
    assert r"\x1b[31m[red]\u202egpj.exe" in err
    assert len(err.splitlines()) == 1
    assert err.strip().isprintable()


def test_tables_print_names_as_they_are(capsys):
  cells = report.Cells([f"{ESC}mode", "[bold]x"], [[f"[red]{ESC}", TURNED]])
  terminal.show([report.Table(f"[b]T{ESC}", cells, f"{ESC}note")])
  out = capsys.readouterr().out
  for text in (r"\x1b[31mmode", "[bold]x", r"[red]\x1b[31m", r"\u202egpj.exe", r"[b]T\x1b[31m", r"\x1b[31mnote"):
    assert text in out
  assert out.replace("\n", "").isprintable()


def test_an_error_line_is_no_page(capsys):
  long = "x" * 5000
  for arguments in ([f"--method={long}"], [f"--encoder={long}"], [f"--{long}=1"], [f"--hp={long}=1"], [long]):
    assert call("pretrain", *arguments) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert "xxx" in line
    assert len(line) < 900


@pytest.mark.parametrize(
  "value",
  ["plain", "with space", "it's", '"quoted"', "$HOME;`ls`", "a\\b", "*?[x]", f"{ESC}red\x7f", "tab\there", "é ±",
   f"{ESC} it's \\ $HOME", TURNED, "\x1b9 and \u202e7"],
)  # fmt: skip
def test_a_printed_command_is_what_a_shell_reads(value):
  argument = f"--dataset=folder:{value}"
  text = machine.quoted(argument)
  assert text.isprintable()
  bash = subprocess.run(
    ["bash", "-c", f"printf %s {text}"], capture_output=True, check=True, env=environment(LC_ALL="C.UTF-8")
  )
  assert bash.stdout.decode() == argument
  if value.isprintable():
    assert shlex.split(text) == [argument]


def test_a_command_holds_every_flag_once_and_quoted(tmp_path):
  seen = []
  given = ["--dataset=folder:my photos", "--hp=level=0.5", "--hp=noise=masking", "--labels=10,20", "--noonline_knn"]
  assert cli.run(lambda: seen.append(cli.command("low_label")), "experiments.low_label", ["low_label", *given]) == 0
  program, *arguments = shlex.split(seen[0])[2:]
  assert program == "experiments.low_label"
  assert sorted(arguments) == sorted(given)


def test_a_command_holds_what_was_given_though_it_is_the_flags_default():
  """--labels=100 is the default of the flag, but not of a comparison of methods."""
  seen = []

  def main() -> None:
    cli.default(labels=["100", "600"], seeds=3)
    seen.append(cli.command("compare"))

  assert cli.run(main, "experiments.compare", ["compare", "--labels=100", "--smoke"]) == 0
  assert sorted(seen[0].split()[2:]) == ["--labels=100", "--seeds=3", "--smoke", "experiments.compare"]


NUMBERS = ["-1", "0", "nan", "inf", "-inf", "1e300", str(10**23), "", "x", "9" * 5000]


def test_whatever_number_a_flag_is_given_it_is_sound_or_one_line(capsys):
  """All numeric flags, and some hundred values: a configuration and a recipe, or a single line, and no traceback."""
  kinds = ("int", "float", "comma separated list of strings")
  numeric = [f.name for f in cli.own_flags("low_label") if f.flag_type() in kinds]
  assert {"epochs", "seed", "seeds", "weight_decay", "save_seconds", "finetune_learning_rates", "max_parameters"} <= {
    *numeric
  }
  sound = []

  def main():
    sound.append((cli.config(), cli.recipe(), cli.FLAGS.seeds, cli.FLAGS.save_seconds, cli.FLAGS.max_parameters))
    cli.positive("image_size", "in_memory_limit")

  tried = 0
  for name in numeric:
    for value in NUMBERS:
      tried += 1
      status = cli.run(main, "experiments.low_label", ["low_label", f"--{name}={value}"])
      seen = capsys.readouterr()
      lines = seen.err.splitlines()
      assert (status, len(lines)) in ((0, 0), (1, 1), (2, 1)), (name, value, seen.err[:500])
      assert status == 0 or (name in lines[0] and len(lines[0]) < 900), lines
  assert tried > 200
  for config, recipe, seeds, save_seconds, parameters in sound:
    assert 0 <= config.seed < 2**32
    assert 0 < seeds <= 10_000
    assert 0 <= save_seconds <= 1e6
    assert parameters > 0
    assert np.isfinite([config.weight_decay, config.epochs or 1, *recipe.learning_rates, recipe.steps]).all()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00--seed=1", None], ids=["no text", "missing"])
def test_a_flagfile_that_is_none(content, tmp_path, capsys):
  path = tmp_path / "my.flags"
  if content:
    path.write_bytes(content)
  assert cli.run(lambda: None, "experiments.low_label", ["low_label", f"--flagfile={path}"]) in (1, 2)
  (line,) = capsys.readouterr().err.splitlines()
  assert "flagfile" in line


@pytest.mark.parametrize(
  ("flag", "path"),
  [
    *[(f"--{flag}", "y" * 5000) for flag in ("out=", "checkpoint=", "dataset=folder:", "dataset=npz:", "dataset=")],
    *[
      (f"--{flag}", "~nouser/x")
      for flag in ("checkpoint=", "dataset=folder:", "dataset=npz:", "dataset=idx:", "dataset=")
    ],
  ],
  ids=lambda value: value[:10],
)
def test_a_path_that_cannot_be(flag, path, tmp_path, monkeypatch, capsys, toy_npz):
  monkeypatch.chdir(tmp_path)
  given = [g for g in (f"--dataset={toy_npz}", f"--out={tmp_path}") if not g.startswith(flag.partition("=")[0])]
  experiment = "probe" if "checkpoint" in flag else "pretrain"
  assert call(experiment, *given, f"{flag}{path}", "--smoke", "--encoder=mlp:widths=4,code=3") == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("error: ")
  assert path[:9] in line
  assert not list(tmp_path.iterdir())
