"""A head on features that stay as they are: the modes raw, random and frozen."""

from sslx.evaluation import finetune
from sslx.evaluation.bench import Bench, Case, Predictor, Source
from sslx.tasks.linear import MANY


def fitted(reads: Source):
  """The `fit` of a mode that reads these features: the task's own head, its hyper-parameters chosen inside the labels.

  With the recipe's head="gradient" an encoder's head is trained as in the modes that train the encoder.
  """

  def fit(bench: Bench, case: Case) -> Predictor:
    represent = bench.source(reads)
    if bench.recipe.head == "gradient" and reads != "raw":
      return finetune.tune(bench, case, represent, ())
    if case.labels >= MANY:
      bench.say(f"{case.mode}, {case.labels:,} labels: fitting a head on this many takes minutes")
    held = None if bench.labelled.heldout is None else bench.features_of(reads, bench.labelled.heldout)
    rows = bench.rows(case)
    features, y = bench.features_of(reads, rows)
    head = bench.task.fit_head(features, y, bench.reference(reads), seed=case.subset_seed, heldout=held)
    return Predictor(represent, head, head.size, head.size + represent.size)

  return fit
