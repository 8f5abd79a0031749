"""The first moments of `python -m experiments.NAME`, before anything slow is imported: only the standard library."""

import os
import signal
import sys

HELP = ("help", "h", "?", "helpshort", "helpfull", "helpxml")  # the flags that ask for no more than a text
LIGHT = ("readme_table",)  # what does without JAX
RANKS = ("JAX_PROCESS_ID", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")  # of several processes, the first of which speaks


def is_program() -> bool:
  """Whether this process is `python -m experiments.NAME`, and not a notebook or a test."""
  return _module() is not None


def _module() -> str | None:
  """NAME of `python -m experiments.NAME`."""
  pairs = zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
  return next((name[12:] for flag, name in pairs if flag == "-m" and name.startswith("experiments.")), None)


def is_first() -> bool:
  """Whether this process is not one behind the first of several, by its environment."""
  return all(os.environ.get(name, "0") == "0" for name in RANKS)


def start_again(environment: dict[str, str]) -> None:
  """Starts this program again in its place; Ctrl-C waits until that one can answer it."""
  waits = hasattr(signal, "pthread_sigmask")
  if waits:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  try:
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
  finally:
    if waits:
      signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def use_huge_pages() -> None:
  """Starts `python -m experiments.NAME` again with launch.sh's GLIBC_TUNABLES; the caller's own value stays.

  Large temporaries then come from huge pages instead of being mapped and cleared page by page at every step: up to a
  quarter of the time of a large batch on the CPU. It cannot be set later than at the start of a process. Needs
  glibc >= 2.35; others ignore it.
  """
  if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ and is_program():
    start_again({**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"})


def greet() -> None:
  """Says on stderr what is started: JAX takes seconds to load. Not of --help, whose text is the answer."""
  asked = {argument.lstrip("-").partition("=")[0] for argument in sys.argv[1:] if argument.startswith("-")}
  if is_program() and is_first() and not asked.intersection(HELP) and _module() not in LIGHT:
    print(f"sslx{_version()}, {_module()}: loading JAX ...", file=sys.stderr, flush=True)


def _version() -> str:
  from importlib import metadata

  try:
    return f" {metadata.version('sslx')}"
  except metadata.PackageNotFoundError:  # a checkout that is on PYTHONPATH
    return ""
