"""What do vectors of words know?

Learns vectors of words from text, by skipgram or cbow, and asks them: analogies, how alike words are, neighbours.

    python -m experiments.words
    python -m experiments.words --dataset=text:FILE --methods=skipgram,cbow
    python -m experiments.words --questions=FILE --similarity=FILE --show=red

Beside them stand vectors before training (random), and an SVD of the words' mutual information (ppmi_svd), which needs
no network. Questions are in the format of Google's questions-words.txt, and else made of the pairs that come with sslx,
whose words are frequent in python_docs. Files of --similarity are tables of two words and a score, such as WordSim-353
and SimLex-999. The page has all tables, neighbours of the words of --show, or else of well-known ones, and pairs of
words in the plane. What is pretrained goes on after a kill, and `sslx.words(DIR)` reads it. See docs/words.md.
"""

from pathlib import Path

from absl import flags

from experiments.shared import cli, directories, pretrainings, runs, words
from experiments.shared.cli import FLAGS
from sslx.types import UserError

flags.DEFINE_string("questions", None, "Analogies, a file in Google's format. Default: own pairs.")
flags.DEFINE_list("similarity", [], "Pairs that people have rated, in files. Such as WordSim-353.")
flags.DEFINE_list("show", [], "Words whose neighbours are told. Default: well-known ones.")


def main() -> None:
  """Runs the experiment on the parsed flags."""
  from sslx.report import pages, records, terminal
  from sslx.report.tables import titled

  names = pretrainings.named("python_docs", "skipgram")
  asked = words.asked(FLAGS.questions, FLAGS.similarity)
  dataset = runs.load_dataset(FLAGS.dataset)
  vocabulary = dataset.vocabulary
  if vocabulary is None:
    raise UserError(f"--dataset={dataset.name}: is {dataset.modality.name} data; give text, such as python_docs.")
  shown = words.shown(FLAGS.show, vocabulary, asked)
  for name in names:
    words.check(name, runs.encoder_of(cli.config(name), dataset))
  jobs = pretrainings.jobs(names, dataset)
  seeds = [job.config.seed for job in jobs[: FLAGS.pretrainings]]
  identity = {
    "experiment": "words", "compare": [job.config.to_json() for job in jobs], "dataset": dataset.name,
    "asked": asked.digest, "smoke": FLAGS.smoke,
  }  # fmt: skip
  name = f"words-{'-'.join(names)}-{dataset.name}"
  directory = directories.open_directory(Path(FLAGS.out), identity, name, FLAGS.fresh)
  rows, vectors = words.measure(jobs, vocabulary, asked)
  made = {"dataset": dataset.name, "origin": dataset.origin, "data": runs.fingerprint(dataset), **records.provenance()}
  said = {"experiment": "words", "command": cli.command("words"), "flags": cli.given_flags()}
  records.write_rows(directory / "words.jsonl", [{**said, **row, **made} for row in rows])
  cli.say("drawing pairs of words")
  told = {name: table for name, table in vectors.items() if name != words.RANDOM}
  tables = [*words.tables(rows), words.neighbours_table(shown, told, vocabulary)]
  records.write_text(directory / "tables.md", titled(tables))
  figures = [
    words.picture(name, vectors[name], vocabulary, asked, directory / "figures" / f"pairs_{name}.png") for name in names
  ]
  facts = {"Data": f"{dataset.name}, {len(vocabulary):,} words that stand there often enough"}
  facts |= {"Made from": dataset.origin} if dataset.origin else {}
  facts |= {name: str(jobs[place * FLAGS.pretrainings].directory) for place, name in enumerate(names)}
  page = pages.write_gallery(
    directory / "report.html", f"What do vectors of words know? {', '.join(names)} on {dataset.name}",
    f"{rows[0]['dimensions']} dimensions · seed {', '.join(map(str, seeds))} · {made['device']}",
    cli.command("words"), facts, [], figures, [], FLAGS.smoke, first=tables,
  )  # fmt: skip
  terminal.show([words.headline(rows)], style="bold")
  terminal.show(tables, elsewhere=page.name)
  for name, job in zip(names, jobs[:: FLAGS.pretrainings], strict=True):
    cli.tell(f'Vectors: sslx.words("{job.directory}") has those of {name}.')
  cli.tell(f"Report: {page}")


if __name__ == "__main__":
  raise SystemExit(cli.run(main, __name__))
