"""Skip-gram and CBOW: words a second, and what the vectors know, of sslx beside gensim's word2vec with two workers.

    ./launch.sh benchmarks.words --files=TEXT --questions=FILE --similarity=FILE --json=benchmarks/results/words.json
    ./launch.sh benchmarks.words --vocabulary_cost

Same words, dimensions, window, negatives, subsampling and passes; each seed trains both, one after the other, in
processes of their own. sslx trains by its own `training.run`. Vectors of both are scored by gensim's functions.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import common, tables

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_multi_string("files", [], "Text, plain or .gz, a sentence or paragraph a line; may be repeated.")
flags.DEFINE_string("questions", "", "Analogies, in the format of Google's questions-words.txt.")
flags.DEFINE_multi_string("similarity", [], "Pairs of words and their similarity, as WordSim-353; may be repeated.")
flags.DEFINE_integer("repeats", 3, "Seeds, each of which trains both.", lower_bound=1)
flags.DEFINE_integer("passes", 5, "Passes over the text.", lower_bound=1)
flags.DEFINE_integer("dimensions", 100, "Numbers of a vector.", lower_bound=1)
flags.DEFINE_multi_string("learn", ["skipgram", "cbow"], "Methods; may be repeated.")
flags.DEFINE_string("peer_python", sys.executable, "Python of an environment that has gensim.")
flags.DEFINE_bool("vocabulary_cost", False, "Instead: seconds of a step, for 20,000 and for 200,000 words.")
flags.DEFINE_string("worker", "", "Internal: train with sslx, as this JSON says.")

FRAMEWORKS = ("sslx", "gensim")


def planned(dataset: Any, method: str, **how: Any) -> Any:
  """The plan of a run by the method's own defaults, all of the text."""
  from sslx.training import run
  from sslx.training.config import Config

  return run.plan(Config(method=method, dataset=dataset.name, watch=0, **how), dataset)


def trained(plan: Any) -> tuple[Any, dict[str, float]]:
  """(its last state, seconds of training, of compiling before it, and of a step)."""
  import jax

  from sslx.training import hooks, run

  begin, first = time.perf_counter(), []
  ts = run.start(plan)
  jax.block_until_ready(ts.params)
  beside = hooks.Hook(begun=lambda steps: first.append((steps, time.perf_counter())))
  ts = run.run(plan, ts, [beside], log_every=run.log_every(plan.steps))
  jax.block_until_ready(ts.params)
  (steps, compiled), end = first[0], time.perf_counter()
  step = (end - compiled) / (plan.steps - steps)
  return ts, {"training": step * plan.steps, "compilation": compiled - begin - step * steps, "step": step}


def train(job: dict[str, Any]) -> dict[str, Any]:
  """As `words_gensim.train`, with the seconds of compilation, which `training` is without and `total` with."""
  begin = time.perf_counter()
  from sslx import data
  from sslx.word_vectors import WordVectors

  with tempfile.TemporaryDirectory() as folder:
    dataset = data.load(f"text:{job['text']}", data_dir=folder)
    encoder = f"words:width={job['dimensions']}"
    steps = planned(dataset, job["method"], epochs=job["passes"]).steps
    steps -= steps % 200  # of which a run makes 200 equal calls: another one would be compiled
    plan = planned(dataset, job["method"], seed=job["seed"], steps=max(steps, 200), encoder=encoder)
    ts, seconds = trained(plan)
  vectors = np.asarray(ts.params["encoder"]["vectors"]["table"])[-len(dataset.vocabulary) :]
  WordVectors(dataset.vocabulary.words, vectors).save(job["vectors"])
  return {**seconds, "total": time.perf_counter() - begin, "passes": plan.config.epochs}


def answer(python: str, module: str, *arguments: str) -> dict[str, Any]:
  """What a module prints as its last line, in JSON."""
  done = subprocess.run([python, "-m", module, *arguments], capture_output=True, text=True, check=False)
  if done.returncode:
    raise SystemExit(f"{module} failed:\n{done.stderr[-2000:]}")
  return json.loads(done.stdout.splitlines()[-1])


def side_by_side() -> list[dict[str, Any]]:
  """A row for each method, seed and framework."""
  from sslx.data.text_files import lines_of

  rows = []
  with tempfile.TemporaryDirectory() as folder:
    text, vectors, count = f"{folder}/text.txt", f"{folder}/vectors.txt", 0
    with open(text, "w") as file:
      for path in FLAGS.files:
        for line in lines_of(path):
          count += len(line.words)
          file.write(" ".join(line.words) + ("\n" if line.ends else " "))
    for method in FLAGS.learn:
      for seed in range(FLAGS.repeats):
        for framework in FRAMEWORKS if seed % 2 else reversed(FRAMEWORKS):
          job = {
            "work": "train", "text": text, "vectors": vectors, "method": method, "seed": seed,
            "passes": FLAGS.passes, "dimensions": FLAGS.dimensions,
          }  # fmt: skip
          if framework == "sslx":
            seconds = answer(sys.executable, "benchmarks.words", f"--worker={json.dumps(job)}")
          else:
            seconds = answer(FLAGS.peer_python, "benchmarks.words_gensim", json.dumps(job))
          job = {"work": "score", "vectors": vectors, "similarity": FLAGS.similarity, "questions": FLAGS.questions}
          scores = answer(FLAGS.peer_python, "benchmarks.words_gensim", json.dumps(job))
          speed = count * seconds["passes"] / seconds["training"]
          rows.append({"method": method, "seed": seed, "framework": framework, "words_per_second": speed, **seconds})
          rows[-1]["scores"] = scores
          told = ", ".join(f"{name} {value:.3g}" for name, value in scores.items())
          print(
            f"  {method} {seed} {framework:8s} {speed:12,.0f} words/s  {seconds['total']:6.1f} s  {told}", flush=True
          )
  return rows


def cost_of_vocabularies() -> list[dict[str, Any]]:
  """Seconds of a step on text of random words, as many a step whatever the vocabulary: nothing is dropped."""
  from sslx.data.types import text_corpus
  from sslx.ops.text import FIRST, Vocabulary

  rows = []
  for method in FLAGS.learn:
    for size in (20_000, 200_000):
      counts = np.maximum(20_000_000 // np.arange(10, size + 10), 1)
      x = np.random.default_rng(0).choice(size, (4000, 256), p=counts / counts.sum()).astype(np.int32) + FIRST
      vocabulary = Vocabulary(tuple(map(str, range(size))), counts, counts, int(counts.sum()))
      for _ in range(FLAGS.repeats):
        dataset = text_corpus("text:random", vocabulary, x)
        _, seconds = trained(planned(dataset, method, epochs=1, hp={"sample": 0.0}, schedule="constant"))
        rows.append({"method": method, "words": size, **seconds})
        print(f"  {method} {size:8,d} words: {1e3 * seconds['step']:.3f} ms a step", flush=True)
  return rows


def main(_: list[str]) -> None:
  """Trains both side by side, or measures what a larger vocabulary costs."""
  if FLAGS.worker:
    print(json.dumps(train(json.loads(FLAGS.worker))), flush=True)
    return
  if FLAGS.vocabulary_cost:
    rows = cost_of_vocabularies()
    print(*tables.vocabulary_cost({"rows": rows}), sep="\n")
    common.write_json(FLAGS.json, "vocabulary_cost", rows, machine=common.machine())
    return
  if not FLAGS.files:
    raise SystemExit("error: --files: no text given; for instance --files=corpus.txt.gz.")
  for path in [*FLAGS.files, *FLAGS.similarity, *filter(None, [FLAGS.questions])]:
    if not Path(path).is_file():
      raise SystemExit(f"error: {path}: no such file.")
  rows = side_by_side()
  print(*tables.words({"rows": rows}), sep="\n")
  common.write_json(FLAGS.json, "words", rows, machine=common.machine("gensim"))


if __name__ == "__main__":
  app.run(main)
