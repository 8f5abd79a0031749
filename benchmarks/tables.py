"""Writes the tables of benchmarks/README.md from the result files of real runs.

    ./launch.sh benchmarks.tables benchmarks/results/*.json

Replaces what stands between the lines `<!-- results -->` and `<!-- /results -->`.
"""

import json
import statistics
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


def words(result: dict[str, Any]) -> list[str]:
  """Speed and scores of vectors of words, medians over the seeds, and ratios of the same seed."""
  rows = result["rows"]
  scores = list(rows[0]["scores"])
  headers = ["method", "framework", "words a second", "[lowest, highest]", "seconds in all", *scores]
  lines, sentences = [], []
  for method in dict.fromkeys(row["method"] for row in rows):
    by_framework = [[r for r in rows if (r["method"], r["framework"]) == (method, f)] for f in ("sslx", "gensim")]
    for of_framework in by_framework:
      speeds = [row["words_per_second"] for row in of_framework]
      total = f"{statistics.median(row['total'] for row in of_framework):.1f}"
      spread = f"[{min(speeds):,.0f}, {max(speeds):,.0f}]"
      values = [_middle([row["scores"][name] for row in of_framework]) for name in scores]
      lines.append([method, of_framework[0]["framework"], f"{statistics.median(speeds):,.0f}", spread, total, *values])
    pairs = [*zip(*by_framework, strict=True)]
    speed = _middle([ours["words_per_second"] / theirs["words_per_second"] for ours, theirs in pairs])
    total = _middle([theirs["total"] / ours["total"] for ours, theirs in pairs])
    better = [
      f"{name} {statistics.mean(ours['scores'][name] - theirs['scores'][name] for ours, theirs in pairs):+.3g}"
      for name in scores
    ]
    sentences.append(
      f"- {method}, of the same seed: {speed} times gensim's words a second, {total} times with reading and compiling; "
      f"on average {', '.join(better)}."
    )
  return [report.markdown(Cells(headers, lines)), "", *sentences]


def vocabulary_cost(result: dict[str, Any]) -> list[str]:
  """Milliseconds of a step, for each size of the vocabulary."""
  lines = []
  for method, size in dict.fromkeys((row["method"], row["words"]) for row in result["rows"]):
    steps = [1e3 * r["step"] for r in result["rows"] if (r["method"], r["words"]) == (method, size)]
    lines.append([method, f"{size:,}", _middle(steps)])
  return [report.markdown(Cells(["method", "words", "milliseconds a step"], lines))]


def stream(result: dict[str, Any]) -> list[str]:
  """Speed of a stream alone and with a step, ratios to data in memory in the same round, and resident memory."""
  alone, steps, resident = ([r for r in result["rows"] if r["kind"] == kind] for kind in ("alone", "step", "memory"))
  step = f"{result['method']} on {result['encoder']}, batch {result['batch_size']}"
  lines = [
    [what, row["framework"], f"{_rate(row):,.0f}", f"[{row['spread'][0]:,.0f}, {row['spread'][1]:,.0f}]"]
    for what, rows in (("the stream alone", alone), (step, steps))
    for row in rows
  ]
  first = next((row for row in steps if row["framework"] == "in memory"), None)
  sentences = [
    f"- {row['framework']}: {_middle([a / b for a, b in zip(row['rates'], first['rates'], strict=False)])} times the "
    "steps in memory, in the same round."
    for row in steps
    if first and row is not first
  ]
  for row in resident:
    middle, beyond = statistics.median(row["mib"]), max(row["mib"]) - row["before_mib"]
    flat = max(max(row["mib"]) / middle - 1, 1 - min(row["mib"]) / middle)
    times = row["decoded_mib"] / row["limit_mib"]
    sentences.append(
      f"- memory, {row['framework']}: {middle:,.0f} MiB, ±{100 * flat:.1f} % over {row['batches']:,} batches (an hour "
      f"of this step takes {row['hour']:,}), {beyond:,.0f} MiB above the start; the set has "
      f"{row['decoded_mib']:,.0f} MiB, {times:.0f} times the limit."
    )
  headers = ["what", "data", "images a second", "[lowest, highest]"]
  return [report.markdown(Cells(headers, lines)), "", *sentences]


def _middle(values: Sequence[float]) -> str:
  """`0.412 [0.4, 0.42]`: the median, the lowest and the highest."""
  middle, low, high = (f"{value:.3g}" for value in (statistics.median(values), min(values), max(values)))
  return f"{middle} [{low}, {high}]"


SECTIONS = {
  "train_step": ("Training step", lambda result: rates(result, "images")),
  "simclr": ("SimCLR, views included", lambda result: rates(result, "images")),
  "augment": ("Views of SimCLR", lambda result: rates(result, "views")),
  "low_label": ("The main job, seconds", low_label),
  "memory": ("Memory and time against size", memory),
  "words": ("Vectors of words", words),
  "stream": ("Data that stay on the disk", stream),
  "vocabulary_cost": ("Steps of a small and a large vocabulary", vocabulary_cost),
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
