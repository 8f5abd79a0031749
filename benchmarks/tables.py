"""Writes the tables of benchmarks/README.md from the result files of real runs.

    ./launch.sh benchmarks.tables benchmarks/results/*.json

Replaces what stands between the lines `<!-- results -->` and `<!-- /results -->`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from sslx import report

BEGIN, END = "<!-- results -->", "<!-- /results -->"
Rows = Sequence[dict[str, Any]]


def rates(result: dict[str, Any], unit: str) -> list[str]:
  """Models x frameworks: median rate, spread, and the ratio of sslx to the fastest peer of each kind of settings."""
  table = Table("model", "batch", "framework", f"{unit} a second", "[lowest, highest]", "of the floor", title="")
  said = []
  for model, batch in dict.fromkeys((r.get("model", ""), r["batch_size"]) for r in result["rows"]):
    rows = [r for r in result["rows"] if (r.get("model", ""), r["batch_size"]) == (model, batch)]
    flops = next((r["flops"] for r in rows if "flops" in r), None)
    floor = result["matmul_flops_per_second"] / flops * batch if flops else None
    for row in rows:
      low, high = row["spread"]
      share = f"{100 * row['images_per_second'] / floor:.0f} %" if floor else ""
      name, rate = row["framework"], f"{row['images_per_second']:,.0f}"
      table.add_row(model, str(batch), name, rate, f"[{low:,.0f}, {high:,.0f}]", share)
    ours = next((r for r in rows if r["framework"] == "sslx"), None)
    name = f"{model}, batch {batch}" if model else f"batch {batch}"
    for kind, wanted in (("default settings", False), ("our allocator", True)):
      peers = [r for r in rows if r is not ours and ("our allocator" in r["framework"]) is wanted]
      if ours and peers:
        best = max(peers, key=lambda r: r["images_per_second"])
        ratio = ours["images_per_second"] / best["images_per_second"]
        said.append(f"- {name}: {ratio:.2f}x the fastest peer with {kind} ({best['framework'].split(',')[0]}).")
  return [report.markdown(table), "", *said]


def low_label(result: dict[str, Any]) -> list[str]:
  """Seconds of each phase."""
  phases = list(dict.fromkeys(name for row in result["rows"] for name in row["phases"]))
  table = Table("arguments", *phases, "whole command", "peak memory (MiB)", title="")
  for row in result["rows"]:
    seconds = [f"{row['phases'].get(name, 0):.0f}" for name in phases]
    table.add_row(
      " ".join(row["arguments"]) or "(defaults)", *seconds, f"{row['whole command']:.1f}", str(row["peak_mib"])
    )
  return [report.markdown(table)]


def memory(result: dict[str, Any]) -> list[str]:
  """Growth with images and labels."""
  table = Table("images", "labels", "seconds", "peak memory (MiB)", title="")
  for row in result["rows"]:
    cells = (f"{row['images']:,}", f"{row['labels']:,}", f"{row['whole command']:.1f}", str(row["peak_mib"]))
    table.add_row(*cells)
  return [report.markdown(table)]


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
  before, _, rest = readme.read_text().partition(BEGIN)
  readme.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
  if len(sys.argv) < 2:
    raise SystemExit(__doc__)
  main(sys.argv[1:])
