"""One thin file per comparison: `python -m experiments.NAME --help`."""

import os
import sys
import time

START = time.monotonic()  # before anything slow is imported: reports say how long the start-up took


def _use_huge_pages() -> None:
  """Starts `python -m experiments.NAME` again with GLIBC_TUNABLES set as launch.sh sets it; the caller's own value stays.

  Large temporaries then come from huge pages instead of being mapped and cleared page by page at every step: up to a
  quarter of the time of a large batch on the CPU. It cannot be set later than at the start of a process. Needs
  glibc >= 2.35; others ignore it.
  """
  if (
    sys.platform == "linux"
    and "GLIBC_TUNABLES" not in os.environ
    and any(
      flag == "-m" and name.startswith(__name__ + ".")
      for flag, name in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    )
  ):
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


_use_huge_pages()
