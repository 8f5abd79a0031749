"""Seconds of each phase of the main job, `experiments.low_label`, and its peak memory.

    ./launch.sh benchmarks.low_label --json=benchmarks/results/low_label.json

The job runs as a user runs it, in a process and a folder of its own. Arguments after -- go to it:
`./launch.sh benchmarks.low_label -- --method=simclr`.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import common

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_integer("repeats", 3, "How often the job runs.", lower_bound=1)


def run_job(arguments: Sequence[str]) -> dict[str, Any]:
  """{phase: seconds, "whole command": seconds, "peak_mib"} of one run from nothing."""
  environment = {k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES", "COLUMNS")}  # lines stay whole
  with tempfile.TemporaryDirectory() as folder, open(f"{folder}/output", "w+") as output:
    begin = time.perf_counter()
    command = [sys.executable, "-P", "-m", "experiments.low_label", f"--out={folder}", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)  # with the memory of this child alone
    whole = time.perf_counter() - begin
    text = Path(f"{folder}/output").read_text()
  if status:
    raise SystemExit(f"{' '.join(command)} failed:\n{text[-2000:]}")
  line = re.search(r"^Time: (.*)\.$", text, re.MULTILINE)
  assert line, text
  phases = {name: float(seconds) for name, seconds in re.findall(r"([\w -]+?) ([\d.]+) s", line.group(1))}
  phases = {name.strip(", "): seconds for name, seconds in phases.items()}
  return {"phases": phases, "whole command": whole, "peak_mib": round(usage.ru_maxrss / 1024)}


def main(argv: list[str]) -> None:
  """Runs the job."""
  rows = []
  for i in range(FLAGS.repeats):
    row = run_job(argv[1:])
    rows.append({"arguments": argv[1:], **row})
    print(f"run {i + 1}: {row['whole command']:.1f} s, {row['peak_mib']} MiB; {row['phases']}", flush=True)
  common.write_json(FLAGS.json, "low_label", rows, machine=common.machine())


if __name__ == "__main__":
  app.run(main)
