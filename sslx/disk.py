"""That what was written is there after a loss of power."""

import errno
import os


def sync(folder: str | os.PathLike[str]) -> None:
  """The names in a folder go to the disk, where the system knows how: a file that is new or renamed is then there."""
  if not hasattr(os, "O_DIRECTORY"):
    return
  number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
  try:
    os.fsync(number)
  except OSError as error:
    if error.errno != errno.EINVAL:  # some network file systems cannot
      raise
  finally:
    os.close(number)
