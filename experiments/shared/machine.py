"""What the terminal, the environment and the hardware refuse, told in one line."""

import errno
import io
import os
import platform
import re
import shlex
import signal
import sys
import warnings
import zlib
from pathlib import Path

from experiments.shared.start import is_program
from experiments.shared.terminal import notify
from sslx.types import UserError, visible

LONGEST_WORD = 300  # characters of a word that an error line shows in full


def accept_any_text() -> None:
  """Lets stdout and stderr show what their encoding lacks as an escape: a report is not lost for its ±."""
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")


def one_line(text: object) -> str:
  """A message as one line that can be shown; what is as long as a page is shortened."""

  def shortened(match: re.Match[str]) -> str:
    return f"{match[0][:150]}...{match[0][-20:]} ({len(match[0]):,} characters)"

  return re.sub(rf"\S{{{LONGEST_WORD},}}", shortened, visible(" ".join(str(text).split())))


def complain(why: object) -> None:
  """Why a command fails, in one line on stderr."""
  notify(f"error: {one_line(why)}")


def quoted(argument: str) -> str:
  """An argument as a shell reads it; one with characters that do not show themselves in bash's $'...'."""
  if visible(argument) == argument:
    return shlex.quote(argument)
  return "$'" + visible(argument.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def use_compilation_cache(folder: Path) -> None:
  """Keeps compiled programs in `folder`, apart for every jaxlib and processor: an entry of another one may crash."""
  from importlib.metadata import version

  import jax

  try:
    cpu = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
  except OSError:
    cpu = None
  host = f"{platform.machine()}-{zlib.crc32(cpu.group(1).encode() if cpu else platform.processor().encode()):08x}"
  jax.config.update("jax_compilation_cache_dir", str(folder / f"jaxlib-{version('jaxlib')}-{host}"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def check_jax() -> None:
  """Raises UserError for what JAX or XLA cannot start with: their own answers are an assertion, or an abort."""
  import jax

  from sslx.compile import check_floats

  check_floats()
  platforms = os.environ.get("JAX_PLATFORMS")
  if platforms:
    try:
      jax.default_backend()
    except Exception as error:  # RuntimeError, or AssertionError without a word
      raise UserError(
        f"JAX_PLATFORMS={platforms}: JAX cannot use that here{_because(error)}; unset it, or name cpu."
      ) from error


def check_xla_flags() -> None:
  """Raises UserError for XLA_FLAGS that XLA would end the process at.

  It reads them in a copy of this process, before there is anything but this thread: that takes milliseconds.
  """
  if not os.environ.get("XLA_FLAGS") or not is_program() or not hasattr(os, "fork"):
    return
  reader, writer = os.pipe()
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # jax warns of forks; this one ends before jax has done anything
    child = os.fork()
  if not child:
    _read_xla_flags(writer)
  os.close(writer)
  with open(reader, errors="replace") as said:
    lines = said.read().splitlines()
  _, status = os.waitpid(child, 0)
  if status:
    why = lines[0].partition("] ")[2] if lines else ""
    raise UserError(f"XLA_FLAGS={os.environ['XLA_FLAGS']}: XLA refuses it ({why}); mend or unset XLA_FLAGS.")


def _read_xla_flags(stderr: int) -> None:
  """In the copy: makes XLA read its flags, and ends."""
  try:
    import resource

    from jaxlib import xla_client

    os.dup2(stderr, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    xla_client.CompileOptions()
  finally:
    os._exit(0)


def reason(error: BaseException) -> str | None:
  """What an error of Python, JAX or XLA means, where it is no fault of the program; else None."""
  text = str(error)
  if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
    return f"{error.filename}: this name is too long for a file."
  if isinstance(error, OSError):
    return _of_disk(error)
  if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
    return (
      f"out of memory{_because(error)}; try a smaller --batch_size, or --accumulate, by which a batch goes through the "
      "model in parts."
    )
  return None


def _of_disk(error: OSError) -> str | None:
  """What to say of a file that the system will not write or read; None where that is not what happened."""
  if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
    cure = "when there is room"
  elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
    cure = "when this is mended"
  else:
    return None
  where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""
  return f"{where}{error.strerror}; what is finished is kept, run the same command again {cure}."


def _because(error: BaseException) -> str:
  """` (its first line)`, where it says anything."""
  line = (str(error).strip().splitlines() or [""])[0]
  return f" ({line.rstrip('.')[:200]})" if line else ""
