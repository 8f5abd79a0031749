"""Do features of sound tell who speaks, or what?

Draws the features of test recordings in the plane, coloured by speaker and by digit, beside those of a random network
and of the spectrogram itself, and counts how many recordings' neighbours are of the same speaker, and digit.

    python -m experiments.speakers --checkpoint=DIR
    python -m experiments.speakers --method=simclr --encoder=mel+conv1d
    python -m experiments.speakers --checkpoint=DIR --features=pool --split=train

Starts from a finished run on sound whose data set has both targets, or pretrains with --method first. Each recording
is a vector: --features, or else the mean over time of the block `context` where there is one, and 5 parts of the time
of the last block where not; of the spectrogram, the mean over time. The maps are PCA and t-SNE, which needs
sslx[maps]. Neighbours are the 5 nearest others by cosine, and a recording is counted where most of them are of its
class. Of a method that predicts several steps ahead, such as cpc_audio, the page has the accuracy at each step.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments.shared import cli, directories, runs
from experiments.shared.classes import without_classes
from experiments.shared.cli import FLAGS
from sslx.types import UserError

if TYPE_CHECKING:
  from sslx import nn

flags.DEFINE_list("by", ["speaker", "digit"], "Targets that recordings are sorted by. Of classes; see --target.")
flags.DEFINE_enum("split", "test", ["test", "train"], "Which recordings.")
flags.DEFINE_integer("recordings", 1000, "At most so many of them, drawn at random.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.evaluation import features
  from sslx.interpret import spaces
  from sslx.report import records, terminal
  from sslx.training import run

  cli.positive("recordings")
  if not FLAGS.by:
    raise UserError("--by is empty: name at least one target, such as --by=speaker.")
  if FLAGS.checkpoint:
    folder = runs.given_checkpoint()
    tree, meta = runs.read_checkpoint(folder)
    dataset = runs.checkpoint_dataset(meta, also=FLAGS.by)
    represent = run.representation(meta, tree, _reading(meta.build_encoder()))
  else:
    cli.default(dataset="spoken_digits")
    config = cli.config()
    dataset = runs.load_dataset(FLAGS.dataset, also=FLAGS.by)
    reading = _reading(runs.encoder_of(config, dataset))
    job = runs.setup(config, without_classes(dataset))
    represent, folder, meta = runs.pretrain(job)[0]._replace(reading=reading), job.directory, job.plan.meta
  split = getattr(dataset, FLAGS.split)
  rows = np.random.default_rng(FLAGS.seed).permutation(len(split))[: FLAGS.recordings]
  by = {name: spaces.Classes(split.others[name][rows], dataset.others[name].names) for name in FLAGS.by}
  identity = {
    "experiment": "speakers", "pretraining": meta.config.to_json(), "dataset": dataset.name, "step": meta.step,
    "features": represent.reading, "by": FLAGS.by, "split": FLAGS.split, "recordings": len(rows), "seed": FLAGS.seed,
    "smoke": FLAGS.smoke,
  }  # fmt: skip
  config = meta.config
  name = f"speakers-{config.method}-{dataset.name}-{config.encoder}"
  directory = directories.open_directory(Path(FLAGS.out), identity, name, FLAGS.fresh)
  plain = features.raw(dataset, dataset.task, "time1")
  read = {config.method: represent, "random": features.random(represent, dataset)(FLAGS.seed), "raw": plain}
  x, found = split.x[rows], []
  for name, representation in read.items():
    cli.say(f"features of {len(rows):,} recordings: {name}")
    found.append(spaces.Space(name, representation.reading, features.extract(representation, x)))
  history = next((p / "metrics.jsonl" for p in (folder, *folder.parents[:2]) if (p / "metrics.jsonl").exists()), None)
  page, told = spaces.write(
    directory, found, by,
    f"Who speaks, and what? {config.method} on {dataset.name}",
    f"{config.encoder} · {len(rows):,} recordings of the {FLAGS.split} split · seed {FLAGS.seed}",
    cli.command("speakers"), records.read_rows(history) if history else [],
    folder / "figures" / "pretext.png", FLAGS.seed, config.smoke or FLAGS.smoke, cli.say,
  )  # fmt: skip
  terminal.show(told)
  cli.tell(f"Report: {page}")


def _reading(encoder: "nn.Encoder") -> str:
  return FLAGS.features or ("context:time1" if "context" in encoder.block_names else "time5")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
