"""What a loader has to say of data that it reads all the same."""

import sys

from sslx.types import visible


def warn(name: str, text: str) -> None:
  """One line on stderr about the data set `name`; what does not show itself in file names is an escape: `visible`."""
  print(visible(" ".join(f"warning: {name}: {text}".split())), file=sys.stderr)


def say(name: str, text: str) -> None:
  """One line on stderr about what is done for the data set `name`, and takes a while."""
  print(visible(" ".join(f"{name}: {text}".split())), file=sys.stderr, flush=True)
