"""Rows of results that the tests of reports are made of."""

SCRATCH = [0.80, 0.82, 0.81]
FROZEN = [0.81, 0.84, 0.84]  # differences 0.01, 0.02, 0.03


def row(mode, seed, accuracy, labels=100, **more):
  base = {"experiment": "few", "method": "denoising", "dataset": "mnist", "encoder": "cnn", "features": 128}
  counts = {"parameters_total": 1000, "parameters_trainable": 10, "seconds": 2.0, "chosen": {"l2": 0.1}}
  about = {"git": "abc1234", "seed": 0, "versions": {"jax": "1"}, "device": "cpu x1", "flags": {}}
  task = {"mode": mode, "labels": labels, "subset_seed": seed, "test_accuracy": accuracy}
  return {**base, **counts, **about, **task, **more}


def rows(labels=100, **modes):
  return [row(mode, seed, value, labels) for mode, values in modes.items() for seed, value in enumerate(values)]


def entry(summary, mode, labels=100):
  (line,) = [e for e in summary if e.mode == mode and e.labels == labels]
  return line


def curve_rows(mode: str, method: str, accuracies: dict[int, list[float]]) -> list[dict]:
  """Rows of one mode: {labels: accuracies of subsets 0, 1, ...}."""
  shared = {"method": method, "dataset": "d", "encoder": "e", "mode": mode}
  return [
    {**shared, "labels": n, "subset_seed": s, "test_accuracy": a}
    for n, values in accuracies.items()
    for s, a in enumerate(values)
  ]
