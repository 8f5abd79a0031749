"""No task: nothing is asked of data without labels, which are there to be pretrained on."""

from collections.abc import Sequence
from typing import Any

from sslx.types import Score, Task, UserError


def none(names: Sequence[str]) -> Task:
  """The task of a data set without labels. Whatever would read them raises UserError."""

  def refuse(*given: Any, **more: Any) -> Any:
    raise UserError("this data set has no labels: nothing can be asked of it, only pretraining reads it.")

  return Task(
    name="none", outputs=0, names=(), score=Score(), loss=refuse, scores=refuse, decide=refuse, subset=refuse,
    folds=refuse, head=refuse, reading="pool",
  )  # fmt: skip
