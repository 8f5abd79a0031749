"""All experiments, a line each: what it answers, and how long it takes.

    python -m experiments

./launch.sh alone shows the same. It is read off the files, and nothing but Python is needed: it answers before anything
is installed.
"""

import ast
import difflib
import sys
from pathlib import Path

from experiments import LAUNCHER, called

FOLDER = Path(__file__).parent
HOWTO = "Pretrain a network without labels; see what it is worth with few labels."
GROUPS = {  # experiment -> about how long it takes without flags, with MNIST on two cores of a laptop
  "Start here": {"low_label": "1 min", "worth": "20 min", "assignment": "10 min", "pretrain": "30 s"},
  "Look inside a finished run": {
    "probe": "30 s", "blocks": "1 min", "interpret": "1 min", "speakers": "1 min",
    "all_reports": "5 s",
  },
  "Use a model": {"predict": "10 s", "label_next": "30 s", "export": "5 s"},
  "Compare": {
    "compare": "1 h", "autoencoders": "30 min", "label_curve": "10 min", "data_efficiency": "40 min",
    "freezing": "25 min", "linear_eval": "10 min", "transfer": "3 min", "downstream": "45 min",
    "active": "15 min", "new_speakers": "40 min", "words": "1 min", "track": "20 min",
  },
  "Published comparisons, done again": {"one_percent": "10 min", "rotnet_mnist": "45 min"},
  "This project": {"readme_table": "5 s"},
}  # fmt: skip
OF_LAUNCHER = {"test": ("7 min", "Tests this project."), "docs": ("1 min", "Makes the site, in docs/_build/html.")}


def file_of(experiment: str) -> Path:
  """The file that `python -m experiments.NAME` runs."""
  package = FOLDER / experiment / "__main__.py"
  return package if package.is_file() else FOLDER / f"{experiment}.py"


def names() -> list[str]:
  """Of all experiments, in the list's order."""
  return [name for group in GROUPS.values() for name in group]


def answers(experiment: str) -> str:
  """The first line of an experiment's docstring."""
  return (ast.get_docstring(ast.parse(file_of(experiment).read_text(encoding="utf-8"))) or "").partition("\n")[0]


def listing() -> str:
  """The list, at most 80 columns wide."""

  def line(name: str, time: str, what: str) -> str:
    return f"  {name:<16} {'~' + time:<8} {what}"

  lines = [HOWTO]
  for title, group in GROUPS.items():
    lines += ["", title, *(line(name, time, answers(name)) for name, time in group.items())]
  if LAUNCHER.is_file():
    lines += [line(name, *rest) for name, rest in OF_LAUNCHER.items()]
  example = called("low_label")
  return "\n".join([
    *lines, "", "~ is the time on two laptop cores, with MNIST. --smoke tries it out in seconds.",
    f"{example} --help: what it does, its flags, your own photos.",
  ])  # fmt: skip


def main(arguments: list[str]) -> int:
  """Prints the list. An argument is the name of none: says which are close. Returns the exit status."""
  if not arguments or arguments[0] in ("-h", "--help"):
    print(listing())
    return 0
  name = arguments[0].rpartition("/")[2].removesuffix(".py").removeprefix("experiments.")
  if name in names():
    why = f"write {called(name)} instead."
  else:
    benchmarks = [f"benchmarks.{path.stem}" for path in (FOLDER.parent / "benchmarks").glob("[a-z]*.py")]
    near = difflib.get_close_matches(name[:100], [*names(), *OF_LAUNCHER, *benchmarks], n=2)
    why = "there is none of this name." + (f" Did you mean {' or '.join(near)}?" if near else "")
  print(f"error: {ascii(arguments[0])[1:-1]}: {why} {called()} lists all.", file=sys.stderr)
  return 2


if __name__ == "__main__":
  raise SystemExit(main(sys.argv[1:]))
