"""What is checked of the data and numbers that the functions of `sslx` are given."""

from typing import Any

from sslx.data import Dataset, Split
from sslx.data.check import MODALITY_RULES, checked
from sslx.training.config import SEEDS
from sslx.types import UserError


def same_shape(what: str, split: Split, shape: Any) -> None:
  """Raises UserError for examples of another shape than a run was made for."""
  if tuple(split.x.shape[1:]) != tuple(shape):
    raise UserError(f"{what}: its examples are {tuple(split.x.shape[1:])}, the run was made for {tuple(shape)}.")


def check_seed(seed: int) -> None:
  """Raises UserError for what is no seed."""
  if not 0 <= seed <= SEEDS:
    raise UserError(f"seed={seed}: expected an integer from 0 to {SEEDS}.")


def check_data(data: Dataset, targets: bool) -> None:
  """Raises UserError for a Dataset made by hand that breaks a rule of the data sets by name. targets: whether they are
  read; a Dataset without any is fit for a method that does not.
  """
  if targets or data.train.y is not None:
    checked(data, tell=False)
  elif data.modality.name in MODALITY_RULES:
    MODALITY_RULES[data.modality.name](data, {"train": data.train}, None)
