"""What has a network learnt? Pictures, maps, sliders.

Draws a finished run's filters, code, neighbours and maps (t-SNE needs the extra sslx[maps]); of a method with a
decoder, reconstructions, walks through its code, and a page of sliders that move it. Never of test images.

    python -m experiments.interpret --checkpoint=DIR
    python -m experiments.interpret --checkpoint=DIR --dims=3,7
    python -m experiments.interpret --checkpoint=DIR --compare=DIR2,DIR3
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments.shared import cli, directories, pictures, runs
from sslx.types import UserError

FLAGS = flags.FLAGS

flags.DEFINE_list("dims", [], "Units to walk along, such as 3,7. Default: the four that vary most.")
flags.DEFINE_list("compare", [], "More runs, whose filters are drawn beside. Of their first layers.")
flags.DEFINE_integer("examples", 2000, "Training images that maps and so on are made of. Labelled ones first.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  import jax

  from sslx import interpret, options
  from sslx.evaluation.features import extract
  from sslx.interpret import codes, gallery, walks
  from sslx.training import run as training

  cli.positive("examples")
  folder = runs.given_checkpoint()
  run = training.restore(folder)
  others = [(Path(name).name, *_encoder(Path(name))) for name in FLAGS.compare]
  compared = [
    gallery.compared(name, params, meta.build_encoder().block_names[0], meta.config.to_json())
    for name, meta, params in [(folder.name, run.meta, run.params["encoder"]), *others]
  ]
  dataset, config = runs.checkpoint_dataset(run.meta), run.meta.config
  if dataset.modality.name != "image":
    raise UserError(f"--checkpoint={folder}: reads {dataset.modality.name} data; what interpret draws are images.")
  representation = run.representation(FLAGS.features if FLAGS["features"].present else run.meta.flat_features)
  read = codes.reader(representation)
  most = min(FLAGS.examples, codes.room(read, dataset.train.x[np.arange(1)]))
  (x, classes), modality = pictures.looked_at(dataset, most, FLAGS.seed), dataset.modality
  count, bare = len(x), 0 if classes is None else int((classes < 0).sum())
  identity = {
    "experiment": "interpret", "pretraining": config.to_json(), "dataset": dataset.name, "step": run.meta.step,
    "images": count, "dims": FLAGS.dims, "compare": [other.config for other in compared[1:]], "seed": FLAGS.seed,
    "features": representation.reading, "smoke": FLAGS.smoke,
  }  # fmt: skip
  cli.say(f"codes of {count:,} training images")
  code = extract(read, x)
  stats = interpret.statistics(interpret.amplitudes(code), code.ndim == 4)
  shown, decode = {}, None
  if run.pretext.show:
    shown = training.shown(run.pretext, modality, run.params, run.state, jax.random.key(FLAGS.seed), {"x": x[:10]})
  if run.pretext.decode:
    decode = walks.decoder(run.pretext.decode, run.params, run.state, config.x_shape)
  seen = gallery.Seen(
    config.method, config.dataset, str(config.encoder), representation.encoder.block_names, run.params,
    images=modality.draw(x, dataset.meaning), classes=classes,
    class_names=dataset.task.names, shown=shown, codes=code, features=extract(representation, x), stats=stats,
    dims=interpret.check_dims(FLAGS.dims, len(stats.std)), decode=decode, seed=FLAGS.seed, say=cli.say,
    directory=directories.open_directory(
      Path(FLAGS.out), identity, f"interpret-{config.method}-{dataset.name}-{config.encoder}", FLAGS.fresh
    ),
  )  # fmt: skip
  facts = {
    "Images": f"{count:,} training images of {dataset.name}{f', {bare:,} of them without labels' if bare else ''}",
    "Hyper-parameters": ", ".join(options.assignments(config.hp)) or "none",
  }
  subtitle = f"{config.encoder} · {config.epochs:g} epochs · seed {config.seed}"
  for sentence in gallery.write(seen, compared, subtitle, cli.command("interpret"), facts, config.smoke):
    cli.tell(sentence)
  about = gallery.code_facts(seen)
  cli.tell(f"Code: {about['Code']}. Dead units: {about['Dead units']}.")
  cli.tell(f"Report: {seen.directory / 'report.html'}")


def _encoder(folder: Path) -> tuple:
  """(Meta, params) of a run of --compare."""
  from sslx.training import checkpoint
  from sslx.training.run import Meta

  try:
    tree, saved = checkpoint.restore_encoder(folder)
  except UserError as error:
    raise UserError(str(error).replace("--checkpoint=", "--compare=")) from error
  return Meta.read(saved), tree["params"]


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
