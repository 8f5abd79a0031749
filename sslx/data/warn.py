"""What a loader has to say of data that it reads all the same."""

import sys


def warn(name: str, text: str) -> None:
  """One line on stderr about the data set `name`; bytes of file names that are no text are written as \\x.."""
  line = " ".join(f"warning: {name}: {text}".split())
  print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
