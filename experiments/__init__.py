"""One thin file per comparison: `python -m experiments.NAME --help`."""
