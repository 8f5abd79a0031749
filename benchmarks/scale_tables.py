"""Writes the tables of docs/scale.md from the result files of `device_memory`, `communication` and `scaling`.

    ./launch.sh benchmarks.scale_tables benchmarks/results/{device_memory,communication,scaling}.json

Each stands between the lines `<!-- NAME -->` and `<!-- /NAME -->` of its benchmark.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslx import report
from sslx.report import Cells, pages_of_docs

PAGE = Path(__file__).resolve().parents[1] / "docs/scale.md"
LINKS = {"NVLink 4": 450, "TPU v5e": 200, "InfiniBand NDR": 50, "100 Gb Ethernet": 12.5}
"""GB a second that a device can send at most, one way; docs/scale.md says who says so."""
UNITS = {"resnet50": "resnet50", "vit:width=384,depth=12,heads=6,patch=16": "vit S/16"}


def encoder_of(row: dict[str, Any]) -> str:
  """In short."""
  return UNITS[row["encoder"].removesuffix(",pool=true")] if "vit" in row["encoder"] else row["encoder"]


def device_memory(result: dict[str, Any]) -> str:
  """GiB of a device."""
  headers = ["method", "encoder", "devices", "settings", "state", "temporaries", "all", "kept for the gradient"]
  lines = []
  for row in result["rows"]:
    remat, parts = row["remat"], row["accumulate"]
    settings = [row["precision"], *["remat"] * remat, *[f"accumulate={parts}"] * (parts > 1)]
    values = [f"{row[name] / 2**30:.2f}" for name in ("state", "temporaries", "total", "kept")] if "kept" in row else []
    line = [row["method"], encoder_of(row), str(row["devices"]), ", ".join(settings)]
    lines.append([*line, *(values or ["", "", row["error"], ""])])
  return report.markdown(Cells(headers, lines))


def communication(result: dict[str, Any]) -> str:
  """MB that a device sends in a step, and how long that takes at least."""
  headers = ["method", "devices", "parameters (MB)", "all-reduce", "all-gather", "others", "MB sent"]
  lines = []
  for row in result["rows"]:
    line = [row["method"], str(row["devices"])]
    if "kinds" not in row:
      lines.append([*line, row["error"], *[""] * (4 + len(LINKS))])
      continue
    sent = {kind: of["sent"] / 1e6 for kind, of in row["kinds"].items()}
    main = [sent.get(kind, 0.0) for kind in ("all-reduce", "all-gather")]
    all_kinds = sum(sent.values())
    values = [f"{value:,.1f}" for value in (row["parameters"] / 1e6, *main, all_kinds - sum(main), all_kinds)]
    lines.append([*line, *values, *(f"{all_kinds / speed:,.1f}" for speed in LINKS.values())])
  return report.markdown(Cells([*headers, *(f"ms at {link}" for link in LINKS)], lines))


def scaling(result: dict[str, Any]) -> str:
  """Images a second, and their ratio to one device's of the same model."""
  headers = ["encoder", "processes x devices", "kind", "batch", "images a second", "[lowest, highest]", "of one device"]
  lines, alone = [], {r["model"]: r["images_per_second"] for r in result["rows"] if r["processes"] * r["devices"] == 1}
  for row in result["rows"]:
    rate, (low, high) = row["images_per_second"], row["spread"]
    share = f"{rate / alone[row['model']]:.2f}" if row["model"] in alone else ""
    how = [row["model"], f"{row['processes']} x {row['devices']}", row["kind"], str(row["batch_size"])]
    lines.append([*how, f"{rate:,.0f}", f"[{low:,.0f}, {high:,.0f}]", share])
  return report.markdown(Cells(headers, lines))


WRITERS = {"device_memory": device_memory, "communication": communication, "scaling": scaling}


def main(paths: Sequence[str], page: Path = PAGE) -> None:
  """Rewrites the page."""
  for result in (json.loads(Path(path).read_text()) for path in paths):
    machine = result["machine"]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("jax", "jaxlib"))
    where = f"{machine['cpu']}, {machine['cores']} cores; {versions}."
    text = f"{WRITERS[result['benchmark']](result)}\n\n{where}\n"
    pages_of_docs.put(page, result["benchmark"], text)


if __name__ == "__main__":
  if len(sys.argv) < 2:
    raise SystemExit(__doc__)
  main(sys.argv[1:])
