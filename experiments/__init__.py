"""One thin file per comparison: `python -m experiments.NAME --help`."""

import time

START = time.monotonic()  # before anything slow is imported: reports say how long the start-up took
