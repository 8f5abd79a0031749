"""How the modes that train by gradient are trained: its fields are flags, arguments in Python, and entries of a row."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from sslx import options
from sslx.options import setting
from sslx.types import Optimizer, Schedule, UserError, brief


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """One recipe for all modes that train by gradient.

  Raises:
    UserError: from the constructor: a number that is not positive, or an unknown choice.
  """

  steps: int = setting(
    150,
    "Steps of the modes that train by gradient (scratch, last:K, full); more where --finetune_epochs takes more.",
    flag="finetune_steps",
    above=0,
    high=10**9,
  )
  epochs: float = setting(
    1.0,
    "Passes over the labels, at least. They count where they take more steps than --finetune_steps.",
    flag="finetune_epochs",
    above=0,
  )
  batch_size: int = setting(50, "Batch size of the modes that train by gradient.", flag="finetune_batch_size", above=0)
  learning_rates: tuple[float, ...] = setting(
    (2e-3,),
    "Peak learning rate of the modes that train by gradient; of several, --validation chooses.",
    flag="finetune_learning_rates",
    above=0,
  )
  augment: str = setting(
    "",
    "Random views of the labelled examples to learn from. As --hp=views: auto, or such as sound:tempo=0.4. Heads on "
    "features as they are get each example and --augment_copies views of it, networks a new view each step. Default: "
    "none.",
  )
  augment_copies: int = setting(2, "Views of a labelled example that heads get with --augment.", above=0)
  weight_decay: float = setting(1e-4, "Decoupled weight decay of the modes that train by gradient.", low=0)
  self_train_epochs: float = setting(2.0, "Passes of the mode self_train over all training images, a round.", above=0)
  self_train_batch_size: int = setting(128, "Batch size of the mode self_train.", above=0)
  self_train_learning_rate: float = setting(3e-3, "Peak learning rate of the mode self_train.", above=0)
  self_train_rounds: int = setting(
    2,
    "Rounds of the mode self_train: train on the spread labels, spread them anew over the graph of what was learnt.",
    above=0,
  )
  folds: int = setting(3, "Of the cross-validation that chooses among several learning rates.", flag=None, above=0)
  optimizer: Optimizer = setting("adamw", "Of these modes.", flag=None)
  schedule: Schedule = setting("cosine", "Of their learning rate.", flag=None)
  shuffle: bool = setting(True, "Whether their order is drawn anew each epoch.", flag=None)
  patience: int | None = setting(
    None,
    "With a number, training ends early where the training score of that many epochs in a row was not above the best.",
    flag=None,
    above=0,
  )
  head: Literal["logistic", "gradient", "ridge"] = setting(
    "logistic",
    "How the head of a frozen encoder is trained: logistic, by the task's own solver that chooses for itself (logistic "
    "regression of classes); ridge, of classes least squares to 1 and 0; or gradient, as in the other modes.",
  )

  __repr__ = brief

  def __post_init__(self) -> None:
    options.check_choices(self)
    options.check_numbers(self)
    if not self.learning_rates:
      raise UserError("--finetune_learning_rates=: expected positive numbers.")
    object.__setattr__(self, "learning_rates", tuple(self.learning_rates))

  def to_json(self) -> dict[str, Any]:
    """Of JSON's types; `read` reads it."""
    return {**dataclasses.asdict(self), "learning_rates": list(self.learning_rates)}

  @classmethod
  def read(cls, saved: Mapping[str, Any]) -> "Recipe":
    """Of a row's settings, whose further entries are left out; a row that is older than a field has its default."""
    return cls(**{field.name: saved[field.name] for field in dataclasses.fields(cls) if field.name in saved})
