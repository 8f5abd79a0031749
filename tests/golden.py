"""Golden runs: what six methods and all modes compute, to the last bit, before and after a
change that should change nothing.

    .venv/bin/python tests/golden.py record tests/golden.json      # before
    .venv/bin/python tests/golden.py check tests/golden.json       # after: says what differs, exit status 1

Each method runs `experiments.low_label --smoke` as a user would, in a process of its own. Kept are the losses of
metrics.jsonl, the digest of the encoder's leaves, and every row's mode, labels, subset, score, parameters and chosen
settings. Bits hold for one processor, jax and XLA: the recording names them, and elsewhere floats are compared to 1e-3.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

METHODS = ("denoise", "simclr", "byol", "moco", "jigsaw", "wta")
MODES = "scratch,frozen,last:1,full,knn:5,propagate,propagate:cmn,self_train"
ROOT = Path(__file__).resolve().parent.parent


def golden(method: str, out: Path) -> dict[str, Any]:
  """Losses, digest and rows of one method."""
  flags = [f"--method={method}", "--smoke", "--labels=20,60", "--seeds=2", f"--modes={MODES}", f"--out={out}"]
  flags += ["--features=pool"] if method == "moco" else []  # not flatten alone
  command = [sys.executable, "-m", "experiments.low_label", *flags]
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
  (run,) = [d for d in out.iterdir() if d.name.startswith(f"{method}-")]
  metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  (meta,) = run.glob("checkpoints/*/meta/metadata")
  rows = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
  kept = ("mode", "labels", "subset_seed", "test_accuracy", "parameters_total", "parameters_trainable", "chosen")
  return {
    "metrics": [{k: v for k, v in row.items() if not k.endswith("_per_second")} for row in metrics],
    "encoder": json.loads(meta.read_text())["digests"]["encoder"],
    "rows": sorted(({k: row[k] for k in kept} for row in rows), key=lambda r: json.dumps(r, sort_keys=True)),
    "where": {"versions": rows[0]["versions"] | {"sslx": ""}, "device": rows[0]["device"]},  # of whatever sslx
  }


def differences(old: Any, new: Any, exact: bool, path: str = "") -> list[str]:
  """Paths at which two JSON values differ; floats by more than 1e-3, relatively, where not `exact`."""
  if isinstance(old, dict) and isinstance(new, dict):
    keys = {**old, **new}
    return [d for k in keys for d in differences(old.get(k), new.get(k), exact, f"{path}/{k}")]
  if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
    return [d for i, (a, b) in enumerate(zip(old, new, strict=True)) for d in differences(a, b, exact, f"{path}/{i}")]
  close = not exact and isinstance(old, float) and isinstance(new, float) and math.isclose(old, new, rel_tol=1e-3)
  return [] if old == new or close else [f"{path}: {old!r} -> {new!r}"]


def main(action: str, file: Path) -> int:
  """Records, or checks against a recording. Returns the exit status."""
  with tempfile.TemporaryDirectory() as out:
    found = {method: golden(method, Path(out) / method) for method in METHODS}
  if action == "record":
    file.write_text(json.dumps(found, indent=1) + "\n")
    return 0
  recorded = json.loads(file.read_text())
  wrong = []
  for method in METHODS:
    old, new = recorded[method], found[method]
    exact = old.pop("where") == new.pop("where")
    if not exact:  # another machine rounds differently
      old.pop("encoder"), new.pop("encoder")
    wrong += differences(old, new, exact, method)
    print(f"{method}: {len(new['rows'])} rows, {'bits' if exact else 'to 1e-3'}", file=sys.stderr)
  print("\n".join(wrong) or "nothing differs")
  return bool(wrong)


if __name__ == "__main__":
  if len(sys.argv) != 3 or sys.argv[1] not in ("record", "check"):
    raise SystemExit(__doc__)
  raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
