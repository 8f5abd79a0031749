"""--help of every experiment: two screens of 80 columns with true defaults and commands; all of it; and of a method."""

import fcntl
import importlib
import inspect
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from helpers import call, module_of

from experiments import __main__ as listing
from experiments.shared import cli, columns, directories, methods, runs
from experiments.shared import help as manual
from sslx import data, nn, options
from sslx.evaluation.modes import check_modes
from sslx.pretext import METHODS

ROOT = Path(cli.__file__).parents[2]
NAMES = [name for name in listing.names() if name != "readme_table"]  # which has no flags of absl
OLD = "python -m experiments."


def shown(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> list[str]:
  """The lines of --help, in a pipe."""
  assert call(name, *arguments) == 0
  captured = capsys.readouterr()
  assert captured.err == ""
  return captured.out.splitlines()


def examples(doc: str | None) -> list[str]:
  """The commands of a docstring that stand on lines of their own."""
  text = re.sub(r" \\\n *", " ", doc or "")
  return [line.strip() for line in text.splitlines() if line.startswith("    ") and line.strip().startswith(OLD)]


@pytest.mark.parametrize("name", NAMES)
def test_the_short_help_is_two_screens_of_80_columns(name, capsys):
  lines = shown(capsys, name, "--help")
  assert len(lines) <= 48
  assert [line for line in lines if len(line) > 80] == []
  assert lines[0] == listing.answers(name)
  assert len([line for line in lines if line.startswith(f"    ./launch.sh {name}")]) == 3
  assert "--help=all            every flag, method, mode, network and data set" in lines
  assert lines[-1] == "./launch.sh           all experiments"
  for spelling in ("-h", "-help", "--helpshort", "--help=short"):
    assert shown(capsys, name, spelling) == lines


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_of_an_experiment_alone_is_in_its_short_help(name, capsys):
  by_module = cli.FLAGS.flags_by_module_dict()
  importlib.import_module(module_of(name))
  text = "\n".join(shown(capsys, name, "--help"))
  for flag in by_module.get(module_of(name), []):
    assert f"  --{flag.name} " in text


@pytest.mark.parametrize("name", NAMES)
def test_help_all_has_every_flag_method_mode_network_and_data_set(name, capsys):
  lines = shown(capsys, name, "--help=all")
  assert [line for line in lines if len(line) > 80] == []
  for flag in cli.own_flags(name):
    assert [line for line in lines if re.match(rf"  --{flag.name}( \[.*)?$", line)], flag.name
  for known in (METHODS, nn.ENCODERS):
    for each in known:
      assert [line for line in lines if line == f"  {each}" or line.startswith(f"  {each}  ")], each
  assert any("temperature=0.2" in line for line in lines)  # of simclr
  for each in ("propagate:[cmn]", "folder:DIR"):
    assert [line for line in lines if line.startswith(f"  {each}  ")]
  assert shown(capsys, name, "--helpfull") == lines
  words = " ".join(lines).replace(" \\ ", " ").split()
  doc = inspect.getdoc(importlib.import_module(module_of(name))) or ""
  assert " ".join(doc.replace(OLD, "./launch.sh ").split()) in " ".join(words)  # nothing of it is lost


def test_experiments_on_a_finished_run_name_it_first(capsys):
  for name in ("probe", "blocks", "interpret"):
    flags = [line for line in shown(capsys, name, "--help") if line.startswith("  --")]
    assert flags[0].startswith("  --checkpoint ")
    assert not [line for line in flags if line.startswith(("  --method", "  --steps"))]


def test_the_help_tells_how_to_use_photos(capsys):
  text = " ".join(" ".join(shown(capsys, "low_label", "--help")).split())
  assert "Your own photos: --dataset=folder:DIR --image_size=32, with pictures in DIR/train/CLASS/" in text


# ---- true examples, true defaults ------------------------------------------------------------------------------------


def documented() -> list[tuple[str, str]]:
  """(where, command) of every command of a docstring, launch.sh's among them."""
  files = [path for folder in ("experiments", "sslx") for path in (ROOT / folder).rglob("*.py")]
  pattern = re.compile(r'\A(?:#.*\n)*r?"""(.*?)"""', re.DOTALL)
  docs = {path: match[1] for path in files if (match := pattern.match(path.read_text()))}
  found = [(str(path.relative_to(ROOT)), line) for path, doc in docs.items() for line in examples(doc)]
  launcher = re.findall(
    r"^#   \./launch\.sh ((?:low_label).*?)(?:  .*)?$", (ROOT / "launch.sh").read_text(), re.MULTILINE
  )
  return [*found, *(("launch.sh", OLD + line) for line in launcher)]


@pytest.mark.parametrize(("where", "line"), documented())
def test_every_command_of_a_docstring_can_be_called(where, line, capsys):
  name, *arguments = shlex.split(line.removeprefix(OLD), comments=True)
  assert name in listing.names()
  if name == "readme_table":
    assert {a.partition("=")[0] for a in arguments if a.startswith("--")} <= {"--into", "--overview", "--ranking"}
    return
  importlib.import_module(module_of(name))
  seen = []
  assert cli.run(lambda: seen.append(True), module_of(name), [name, *arguments]) == 0, capsys.readouterr().err
  assert seen or "--help" in arguments
  flags = {flag.name for flag in cli.own_flags(name)}
  given = {a.partition("=")[0].removeprefix("--") for a in arguments if a.startswith("--") and "flagfile" not in a}
  assert given <= flags
  values = cli.FLAGS
  for method in [values.method, *(m for m in values.methods or [] if m != "all")]:
    assert method in METHODS
  options.parse(METHODS[values.method].factory, values.hp, "--hp")
  encoder = nn.build(values.encoder or METHODS[values.method].encoder)
  check_modes(values.modes, encoder.block_names)
  if values.features:
    nn.check_reading(values.features, encoder.block_names)
  for spec in [values.dataset, *(getattr(values, "targets", []) if "targets" in flags else [])]:
    assert spec.partition(":")[0] in data.DATASETS
  cli.recipe()


WITHOUT_DIRECTORY = ("all_reports", "export", "label_next", "predict")


class Opened(Exception):
  """All defaults are set: the experiment opens its directory."""


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_DIRECTORY])
def test_the_help_tells_the_defaults_that_an_experiment_sets(name, low_label_run, monkeypatch, capsys):
  """On MNIST, which its help is about: each default that is set is the one that is told, and no other."""
  made: dict[str, str] = {}
  original = cli.default

  def default(**values: object) -> None:
    for flag, value in values.items():
      if not cli.FLAGS[flag].present:
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
        made[flag] = f"{text:g}" if isinstance(text, float) else str(text)
    original(**values)

  def opened(*_: object, **how) -> None:
    raise Opened

  monkeypatch.setattr(cli, "default", default)
  for module in (directories, runs, methods):
    monkeypatch.setattr(module, "open_directory", opened)
  load = runs.load_dataset
  few = {"moving_digits": "moving_digits:size=40,digits=14-18,train=9,validation=1,test=1"}  # rendering takes a minute
  monkeypatch.setattr(runs, "load_dataset", lambda spec, *how, **more: load(few.get(spec, spec), *how, **more))
  importlib.import_module(module_of(name))
  arguments = [f"--checkpoint={low_label_run[1]}"] if name in ("probe", "blocks", "interpret") else []
  arguments += ["--targets=mnist"] if name == "transfer" else []
  with pytest.raises(Opened):
    call(name, *arguments)
  method = METHODS[made.get("method", "denoise")]
  groups = {**manual.GROUPS, **manual.SHOWN.get(name, {})}
  for flag in {flag for group in groups.values() for flag in group} & made.keys():
    told = manual.default(name, cli.FLAGS[flag])
    assert made[flag] == (str(getattr(method, flag)) if told == "the method's own" else told), flag
  words = {"the run's", manual.IMAGES, "by their number", ""}  # what no flag is set to
  assert {flag for flag, text in manual.DEFAULTS.get(name, {}).items() if text not in words} <= made.keys()


# ---- a method, a terminal, what is quick -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_help_of_a_method_is_short_and_has_its_settings(method, capsys):
  lines = shown(capsys, "low_label", "--help", f"--method={method}")
  assert [line for line in lines if len(line) > 80] == []
  assert len(lines) <= 48
  assert lines[0] == f"--method={method}"
  for option, parameter in options.parameters(METHODS[method].factory).items():
    assert [line for line in lines if line.startswith(f"  {option}=")], (option, parameter)
  assert METHODS[method].encoder in "".join(lines)


def test_help_of_an_unknown_method_names_the_nearest(capsys):
  assert call("low_label", "--help", "--method=simclrr") == 1
  assert "Did you mean 'simclr'" in capsys.readouterr().err


def test_help_of_something_else_is_refused(capsys):
  assert call("low_label", "--help=simclr") == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert "short|all" in line


@pytest.mark.parametrize(
  ("argument", "width", "expected"), [("--help=all", 100, 100), ("--help=all", 60, 60), ("-h", 100, 80)]
)
def test_help_is_as_wide_as_the_terminal(argument, width, expected):
  """And the short one never wider than 80 columns."""
  reader, writer = pty.openpty()
  fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
  environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
  command = [sys.executable, "-P", "-m", "experiments.low_label", argument]
  pieces = []
  with subprocess.Popen(command, env={**environment, "PYTHONPATH": str(ROOT)}, stdout=writer) as process:
    os.close(writer)
    try:
      while piece := os.read(reader, 1 << 16):
        pieces.append(piece)
    except OSError:  # how Linux says that the other end is closed
      pass
  os.close(reader)
  assert process.returncode == 0
  lengths = [len(line) for line in b"".join(pieces).decode().splitlines()]
  assert expected - 8 < max(lengths) <= expected


PROGRAM = """
import runpy, sys
sys.argv = ["low_label", "--help"]
try:
  runpy.run_module("experiments.low_label", alter_sys=True, run_name="__main__")
except SystemExit as end:
  print(end.code, [module for module in ("jax", "flax", "scipy", "PIL") if module in sys.modules])
"""


def test_the_short_help_imports_nothing_slow():
  done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("name", ["probe", "data_efficiency", "one_percent"])
def test_a_program_shows_what_is_its_own(name, capsys):
  """absl knows the flags of what runs as __main__ under another name."""
  done = subprocess.run(
    [sys.executable, "-P", "-m", f"experiments.{name}", "--help"], env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True, text=True, check=True,
  )  # fmt: skip
  assert done.stdout.splitlines() == shown(capsys, name, "--help")


def test_readme_table_has_a_help(capsys):
  command = [sys.executable, "-P", "-m", "experiments.readme_table", "--help"]
  done = subprocess.run(
    command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
  )
  assert done.stdout.startswith(listing.answers("readme_table"))
  assert all(len(line) <= 80 for line in done.stdout.splitlines())


# ---- text of some width ----------------------------------------------------------------------------------------------

DOC = """A title.

A paragraph that is
longer than a line.

 * first: an item that is longer
   than a line
 * second
     deep   a column of text that is
            longer

    python -m experiments.probe --checkpoint=DIR --labels=100,1000 --seeds=3
    python -m experiments.probe"""


def test_a_docstring_keeps_its_lists_and_commands():
  assert columns.document(DOC, 30).splitlines() == [
    "A title.", "", "A paragraph that is longer", "than a line.", "",
    " * first: an item that is", "   longer than a line", " * second",
    "     deep   a column of text", "            that is longer", "",
    "    ./launch.sh probe \\", "      --checkpoint=DIR \\", "      --labels=100,1000 \\", "      --seeds=3",
    "    ./launch.sh probe",
  ]  # fmt: skip
