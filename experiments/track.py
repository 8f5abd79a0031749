"""Do features follow an object through a video?

Pretrains on clips without labels, then copies the mask of each video's first frame along, from places that look alike.

    python -m experiments.track
    python -m experiments.track --checkpoint=DIR,DIR2 --dataset=video:DIR3
    python -m experiments.track --methods=temporal_colour,simclr --pretrainings=3

Nothing is trained on masks. Beside the encoders stand the mask of the first frame as it is (identity), grey patches
(raw) and encoders before training (random); all of them see grey frames, unless --colours. How labels are copied is
chosen for each on clips of moving_digits that are for validation, never on the videos that are scored. J is the overlap
with the true masks, F how well their boundaries agree. --checkpoint: runs of any method on clips, or on images in
colour. --features: the block that is read, by default the last one. The page has moving pictures, and attention.html
shows what a clicked place looks at. See docs/video.md.
"""

import time
from pathlib import Path

from absl import flags

from experiments.shared import cli, directories, runs, tracked, tracking
from experiments.shared.cli import FLAGS

flags.DEFINE_bool("colours", False, "Let encoders and patches see colours. Not only grey frames.")
flags.DEFINE_integer("pictured", 6, "Videos with pictures. From the best to the worst.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.report import pages, records, terminal
  from sslx.report.tables import titled

  cli.positive("pictured")
  begin = time.monotonic()
  trained, dataset = tracking.given()
  videos = tracking.videos(dataset)
  trackers = tracking.trackers(trained)
  names = list(dict.fromkeys(each.name for each in trained))
  identity = {
    "experiment": "track", "compare": [each.config for each in trained], "dataset": dataset.name,
    "colours": FLAGS.colours, "features": FLAGS.features, "smoke": FLAGS.smoke,
  }  # fmt: skip
  name = f"track-{'-'.join(names)}-{dataset.name}"
  directory = directories.open_directory(Path(FLAGS.out), identity, name, FLAGS.fresh)
  made = {"dataset": dataset.name, "data": runs.fingerprint(dataset), **records.provenance()}
  said = {"experiment": "track", "command": cli.command("track"), "flags": cli.given_flags()}
  rows = tracking.measure(trackers, videos, directory / "tracks.jsonl", {**said, **made})
  tables = [*tracked.tables(rows), *tracked.colour_tables(trained, dataset)]
  everything = [*tables, *tracked.by_video(rows)]
  records.write_text(directory / "tables.md", titled(everything))
  figures, scenes = tracked.draw(rows, trackers, videos, directory / "figures")
  links = tracked.link(directory, scenes, dataset.name)
  facts = {"Data": tracked.told(dataset, videos), "Seconds": f"{time.monotonic() - begin:.0f}"}
  facts |= {f"{each.name}, seed {each.seed}": str(each.directory) for each in trained}
  page = pages.write_gallery(
    directory / "report.html", f"Do features follow an object? {', '.join(names)} on {dataset.name}",
    f"{len(videos.test)} videos · {made['device']}", cli.command("track"), facts, links,
    [*figures, *trained[0].figures], [], FLAGS.smoke, first=everything,
  )  # fmt: skip
  terminal.show([tracked.headline(rows)], style="bold")
  terminal.show(tables, elsewhere=page.name)
  cli.tell(f"Report: {page}")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
