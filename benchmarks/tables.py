"""Writes the tables of benchmarks/README.md from the result files of real runs.

    ./launch.sh benchmarks.tables benchmarks/results/*.json

Replaces what stands between the lines `<!-- results -->` and `<!-- /results -->`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslx import report
from sslx.report import Cells, pages_of_docs
from sslx.report.records import examples_per_second

BEGIN, END = pages_of_docs.markers("results")


def rates(result: dict[str, Any], unit: str) -> list[str]:
  """Models x frameworks: median rate, spread, and the ratio of sslx to the fastest peer of each kind of settings."""
  headers = ["model", "batch", "framework", f"{unit} a second", "[lowest, highest]", "of the floor"]
  lines, sentences = [], []
  for model, batch in dict.fromkeys((r.get("model", ""), r["batch_size"]) for r in result["rows"]):
    rows = [r for r in result["rows"] if (r.get("model", ""), r["batch_size"]) == (model, batch)]
    flops = next((r["flops"] for r in rows if "flops" in r), None)
    floor = result["matmul_flops_per_second"] / flops * batch if flops else None
    for row in rows:
      low, high = row["spread"]
      share = f"{100 * _rate(row) / floor:.0f} %" if floor else ""
      name, rate = row["framework"], f"{_rate(row):,.0f}"
      lines.append([model, str(batch), name, rate, f"[{low:,.0f}, {high:,.0f}]", share])
    ours = next((r for r in rows if r["framework"] == "sslx"), None)
    name = f"{model}, batch {batch}" if model else f"batch {batch}"
    for kind, wanted in (("default settings", False), ("our allocator", True)):
      peers = [r for r in rows if r is not ours and ("our allocator" in r["framework"]) is wanted]
      if ours and peers:
        fastest = max(peers, key=_rate)
        ratio = _rate(ours) / _rate(fastest)
        sentences.append(f"- {name}: {ratio:.2f}x the fastest peer with {kind} ({fastest['framework'].split(',')[0]}).")
  return [report.markdown(Cells(headers, lines)), "", *sentences]


def _rate(row: dict[str, Any]) -> float:
  rate = examples_per_second(row)
  assert rate is not None
  return rate


def low_label(result: dict[str, Any]) -> list[str]:
  """Seconds of each phase."""
  phases = list(dict.fromkeys(name for row in result["rows"] for name in row["phases"]))
  lines = []
  for row in result["rows"]:
    seconds = [f"{row['phases'].get(name, 0):.0f}" for name in phases]
    arguments = " ".join(row["arguments"]) or "(defaults)"
    lines.append([arguments, *seconds, f"{row['whole command']:.1f}", str(row["peak_mib"])])
  return [report.markdown(Cells(["arguments", *phases, "whole command", "peak memory (MiB)"], lines))]


def memory(result: dict[str, Any]) -> list[str]:
  """Growth with images and labels."""
  lines = [
    [f"{row['images']:,}", f"{row['labels']:,}", f"{row['whole command']:.1f}", str(row["peak_mib"])]
    for row in result["rows"]
  ]
  return [report.markdown(Cells(["images", "labels", "seconds", "peak memory (MiB)"], lines))]


SECTIONS = {
  "train_step": ("Training step", lambda result: rates(result, "images")),
  "simclr": ("SimCLR, views included", lambda result: rates(result, "images")),
  "augment": ("Views of SimCLR", lambda result: rates(result, "views")),
  "low_label": ("The main job, seconds", low_label),
  "memory": ("Memory and time against size", memory),
}


def main(paths: Sequence[str]) -> None:
  """Rewrites README.md beside this file."""
  readme = Path(__file__).parent / "README.md"
  lines: list[str] = []
  for result in sorted(
    (json.loads(Path(p).read_text()) for p in paths), key=lambda r: list(SECTIONS).index(r["benchmark"])
  ):
    title, write = SECTIONS[result["benchmark"]]
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {versions}"
    if "matmul_flops_per_second" in result:
      where += f"; float32 matrix product {result['matmul_flops_per_second'] / 1e9:.0f} GFLOP/s"
    lines += [f"### {title}", "", *write(result), "", f"{where}.", ""]
  pages_of_docs.put(readme, "results", "\n".join(lines))


if __name__ == "__main__":
  if len(sys.argv) < 2:
    raise SystemExit(__doc__)
  main(sys.argv[1:])
