"""What does each kind of autoencoder learn?

All of them on one network with one budget, beside raw pixels, random weights and training from scratch.

    python -m experiments.autoencoders --parts=family
    python -m experiments.autoencoders --dataset=fashion_mnist
    python -m experiments.autoencoders --labels=100,600,1000 --seeds=3

Three parts, each a table and a report (--parts picks): `family` compares the methods; `outputs` the pairs of output
activation and loss; `corruption` the denoising autoencoder's noise levels (Vincent et al. 2010, where more corruption
can teach more).
Always beside raw pixels, a random encoder and training from scratch; the last two parts only with frozen encoders.
Everything resumes.
"""

import time

from absl import flags

from experiments import START
from experiments.shared import cli, methods, pages, runs
from experiments.shared.cli import FLAGS
from sslx.types import UserError

FAMILY = ("autoencode", "denoise", "stacked_denoise", "sparse", "contractive", "vae", "wta", "conv_wta")
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
PARTS = {
  "family": ("The family", [methods.Variant(name, name) for name in FAMILY]),
  "outputs": (
    "Output and loss",
    [
      methods.Variant(f"{output} + {loss}", "autoencode", (f"output={output}", f"loss={loss}"))
      for output, loss in (("sigmoid", "bce"), ("sigmoid", "mse"), ("linear", "mse"))
    ],
  ),
  "corruption": (
    "Corruption",
    [methods.Variant(f"level {level:g}", "denoise", (f"level={level:g}",)) for level in LEVELS],
  ),
}

flags.DEFINE_list("parts", list(PARTS), "Which tables to make. One, or several of these.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  unknown = [part for part in FLAGS.parts if part not in PARTS]
  if unknown or not FLAGS.parts:
    raise UserError(f"--parts={','.join(FLAGS.parts)}: choose among {', '.join(PARTS)}.")
  dataset = runs.load_dataset(FLAGS.dataset)
  methods.defaults(dataset)
  for part in FLAGS.parts:
    heading, members = PARTS[part]
    members = [variant._replace(images=methods.IMAGES) for variant in members]
    timings = {"start-up": time.monotonic() - START}
    directory, heads_only = methods.open_directory(f"autoencoders-{part}", dataset), part != "family"
    outcome = methods.run_variants("autoencoders", members, dataset, directory, timings, heads_only=heads_only)
    title = f"{heading}: autoencoders on {dataset.name}"
    pages.write_report("autoencoders", title, directory, heading, outcome, timings, methods.budget())


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
