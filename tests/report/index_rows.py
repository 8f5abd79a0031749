"""Rows of runs that the tests of leaderboards are made of."""

import json

SCRATCH, FROZEN = [0.80, 0.82, 0.81], [0.81, 0.84, 0.84]  # differences 0.01, 0.02, 0.03
PRETRAINING = {"method": "denoise", "dataset": "mnist", "epochs": 2.0}


def row(mode, seed, accuracy, **more):
  base = {"experiment": "low_label", "method": "denoise", "dataset": "mnist", "encoder": "conv", "features": "flatten"}
  counts = {"parameters_total": 1000, "parameters_trainable": 10, "seconds": 2.0}
  made = {"git": "abc1234", "command": "python -m x", "flags": {"smoke": False}, "pretraining": PRETRAINING}
  settings = {"features": "flatten", "validation": "cv", "labels_crc32": 7}
  task = {"mode": mode, "labels": 100, "subset_seed": seed, "test_accuracy": accuracy}
  return {**base, **counts, **made, "settings": settings, **task, **more}


def rows(more=None, **modes):
  return [row(mode, seed, value, **(more or {})) for mode, values in modes.items() for seed, value in enumerate(values)]


def with_settings(given, **settings):
  return [r | {"settings": r["settings"] | settings} for r in given]


def write(folder, given, page=True):
  folder.mkdir(parents=True)
  (folder / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in given))
  if page:
    (folder / "report.html").write_text("<!doctype html>")
