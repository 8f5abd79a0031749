"""gensim's word2vec on a text of a sentence a line, and gensim's own scores of vectors: the peer of `benchmarks.words`.

Called with JSON, answers with a line of JSON. Needs gensim and nothing of sslx.
"""

import json
import sys
import time
from typing import Any

from gensim.models import KeyedVectors, Word2Vec


def train(job: dict[str, Any]) -> dict[str, Any]:
  """Trains on job["text"] and writes the vectors to job["vectors"]; seconds of training, and of all with reading."""
  begin = time.perf_counter()
  with open(job["text"]) as file:
    lines = [line.split() for line in file]
  model = Word2Vec(
    vector_size=job["dimensions"], window=5, negative=5, min_count=5, sample=1e-3, sg=job["method"] == "skipgram",
    workers=2, seed=job["seed"] + 1, epochs=job["passes"],
  )  # fmt: skip
  model.build_vocab(lines)
  start = time.perf_counter()
  model.train(lines, total_examples=model.corpus_count, epochs=model.epochs)
  seconds = time.perf_counter() - start
  model.wv.save_word2vec_format(job["vectors"])
  return {"training": seconds, "total": time.perf_counter() - begin, "passes": job["passes"]}


def score(job: dict[str, Any]) -> dict[str, Any]:
  """Spearman with each file of similarities, and the share of right analogies, of all that are in the vocabulary."""
  vectors = KeyedVectors.load_word2vec_format(job["vectors"])
  name = {path: path.rpartition("/")[2].partition(".")[0] for path in job["similarity"]}
  scores = {name[path]: float(vectors.evaluate_word_pairs(path)[1][0]) for path in job["similarity"]}
  if not job["questions"]:
    return scores
  _, sections = vectors.evaluate_word_analogies(job["questions"], restrict_vocab=len(vectors))
  for kind, is_syntactic in (("semantic", False), ("syntactic", True)):
    those = [
      s for s in sections if s["section"].startswith("gram") == is_syntactic and s["section"] != "Total accuracy"
    ]
    right, wrong = (sum(len(s[key]) for s in those) for key in ("correct", "incorrect"))
    scores[f"{kind} (of {right + wrong:,})"] = 100 * right / max(right + wrong, 1)
  return scores


if __name__ == "__main__":
  job = json.loads(sys.argv[1])
  print(json.dumps(train(job) if job["work"] == "train" else score(job)), flush=True)
