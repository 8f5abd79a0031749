"""What a model says of arrays, or of files: `predict`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslx import models
from sslx.calls import public
from sslx.data import reading
from sslx.data.inputs import accepted
from sslx.fitted import Fitted, answers

Place = str | os.PathLike[str]


@public
def predict(fitted: Fitted | str | os.PathLike[str], x: Any) -> np.ndarray:
  """What is predicted for each example of an array: how likely each class is, or numbers, masks or boxes.

  classification: probabilities f32 [N,K], which sum to 1; `.argmax(1)` are the predicted classes.
  multilabel: probabilities f32 [N,K], of each class by itself; a class is said to be there above 0.5.
  regression: numbers f32 [N,T], in the units of the labels.
  segmentation: masks u8 [N,H,W] as high and wide as the images, of the class of each pixel; 0 is the background.
  detection: boxes f32 [N,M,6], rows (class, top, left, bottom, right, score), the best first. A box covers the pixels
    from top to bottom - 1 and from left to right - 1; the score is from 0 to 1, and a row of class -1 is no box.

  Probabilities are of outputs divided by fitted.temperature, which makes them as sure as they are right.

  Example:
    >>> probabilities = sslx.predict(fitted, data.test.x)

  Args:
    fitted: see `fit`; or the folder of a model that `save` or an experiment wrote, or a run directory with one.
    x: raw [N,...], such as images u8 [N,H,W,C] or floats in [0, 1]; N may be 0. Or files of images, recordings or
      texts: a list of their paths, or a folder, whose files of this kind are taken sorted by their paths.

  Returns:
    An array [N,...], by the task of `fitted` as above.

  Raises:
    UserError: no model there; x of another shape than the training examples, or with values that cannot be meant; files
      that are not there, or that cannot be read.
  """
  model = fitted if isinstance(fitted, Fitted) else models.read(models.find(fitted))
  places = _places(x)
  if places is not None:
    x = _read(places, model)
  x = accepted(x, model.modality, model.x_shape)
  some = x if len(x) else np.zeros((1, *model.x_shape), x.dtype)  # of no examples: the shape that one would have
  return answers(model, model.predictor.outputs(some)[: len(x)])


def _places(x: Any) -> Sequence[Place] | None:
  """The files and folders that x names; None where it is an array."""
  if isinstance(x, str | os.PathLike):
    return [x]
  return x if isinstance(x, list | tuple) and x and all(isinstance(each, str | os.PathLike) for each in x) else None


def _read(places: Sequence[Place], model: Fitted) -> Any:
  """A row for each file: files alone are read as they are listed, also where one is listed twice."""
  name = model.modality.name
  files = places if all(Path(place).is_file() for place in places) else reading.files_of(places, name)
  return reading.read(files, name, model.x_shape, model.meaning, **how_read(model)).x


def how_read(fitted: Fitted) -> dict[str, Any]:
  """How pictures in files became the values that a model was trained on: arguments of `sslx.data.reading.read`."""
  how = fitted.about.get("reading", {})
  return {"background": tuple(how.get("background", reading.WHITE)), "bits": how.get("bits", 16)}
