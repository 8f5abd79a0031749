"""Writes a model for jax alone, ONNX or safetensors.

For programs that do without sslx, with a card of what it is and how good: all of the model as one program of StableHLO
or ONNX, or its arrays as safetensors.

    python -m experiments.export --model=RUN
    python -m experiments.export --model=RUN --format=stablehlo,safetensors
    python -m experiments.export --model=RUN --format=onnx --out=DIR

RUN is a run directory, whose best model is taken, or a folder in its models/. stablehlo: model.stablehlo, for CPUs,
GPUs and TPUs, and batches of any size. safetensors: model.safetensors, the arrays by name, and all else as JSON. onnx:
model.onnx, converted by jax2onnx and checked by ONNX Runtime; launch.sh keeps these in an environment of their own,
.venv-onnx. Beside them stand card.json, for programs, and README.md, in the form that model hubs show, made from the
rows of the run: score with its interval, table, how to load it.
"""

from pathlib import Path
from typing import Any

from absl import flags

from experiments.shared import cli, predicting
from experiments.shared.cli import FLAGS
from sslx.types import UserError

flags.DEFINE_list("format", ["stablehlo"], "What to write: stablehlo, safetensors, onnx. Or several of them.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  if not FLAGS.format:
    raise UserError("--format=: name a format, such as --format=stablehlo.")
  from sslx import exported, models

  exported.check(FLAGS.format)  # a mistyped format is told before anything is loaded
  fitted, folder = predicting.model_of(FLAGS.model), models.find(FLAGS.model)
  out = Path(FLAGS.out) if FLAGS["out"].present else folder / "export"
  for path in exported.write(fitted, out, FLAGS.format, rows_of(folder)):
    cli.tell(f"{path}: {path.stat().st_size:,} bytes")
  cli.tell(f"{out / 'README.md'}: what it is, how good, how to load it; license and intended use are yours to add")


def rows_of(folder: Path) -> list[dict[str, Any]]:
  """The results of the run that a model's folder lies in; [] where it lies elsewhere."""
  from sslx import models
  from sslx.report import records

  above = folder.resolve().parent
  return records.read_rows(above.parent / "results.jsonl") if above.name == models.IN_RUN else []


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
