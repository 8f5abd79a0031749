"""One thin file per comparison: `python -m experiments.NAME --help`."""

import time

from experiments.shared import interrupt, start

START = time.monotonic()  # before anything slow is imported: reports say how long the start-up took

# Before all other imports. `experiments.shared.cli.run` makes Ctrl-C a KeyboardInterrupt again.
interrupt.stop_at_once()
start.use_huge_pages()
start.greet()
