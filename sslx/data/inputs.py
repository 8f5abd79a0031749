"""What a model is given by hand: of the shape that it was made for, and with values that can be meant."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from sslx.data.lazy import LazyArray
from sslx.data.types import Dataset, Split
from sslx.types import Modality, UserError


def accepted(x: Any, modality: Modality, shape: Sequence[int]) -> Any:
  """Raw x [N,...], N may be 0, as the model takes it: an array of numpy or jax, or a LazyArray.

  Under jit, vmap and grad an array has no values yet: it passes as it is, and a wrong shape is jax's to tell.

  shape: of one example, which the model was made for.

  Raises:
    UserError: another shape, or values that `modality.accept` refuses. Of a lazy array these are found when it is read.
  """
  if isinstance(x, Tracer):
    return x
  if isinstance(x, Split | Dataset):
    raise UserError(f"x: expected an array, not a {type(x).__name__}; give the x of a split, such as data.test.x.")
  if not isinstance(x, LazyArray | jax.Array):
    try:
      x = np.asarray(x)
    except ValueError as error:  # lists of several lengths
      raise UserError(f"x: expected an array [N,{','.join(map(str, shape))}], and this is none: {error}") from error
  _check_shape(tuple(x.shape), tuple(shape))
  accept = modality.accept
  if accept is None:
    return x
  if isinstance(x, LazyArray):
    return dataclasses.replace(x, fetch=lambda rows: accept(x.fetch(rows)))
  return accept(x)


def _check_shape(given: tuple[int, ...], shape: tuple[int, ...]) -> None:
  if given[1:] == shape:
    return
  cure = f"expected [N,{','.join(map(str, shape))}], the shape that the model was made for"
  if given == shape:
    raise UserError(f"x of shape {given} is a single example; {cure}: give x[None].")
  if len(shape) == 3:  # of images: what other libraries do with their axes
    height, width, channels = shape
    first = (channels, height, width)
    hints = {
      (height, width): "x[..., None]" if channels == 1 else "",
      first: "numpy.moveaxis(x, 1, -1)",
    }
    singles = {
      (height, width): "x[None, ..., None]" if channels == 1 else "",
      first: "numpy.moveaxis(x, 0, -1)[None]",
    }
    hint = hints.get(given[1:]) or singles.get(given)
    if hint:
      raise UserError(f"x of shape {given}: {cure}, with the channels last: give {hint}.")
    if len(given) == 4 and given[3] != channels:
      kind = {1: "grey images", 3: "images in colour"}.get(given[3], f"images of {given[3]} channels")
      raise UserError(f"x of shape {given}: {kind}; {cure}: convert them.")
    if len(given) == 4:
      raise UserError(f"x of shape {given}: images of another size; {cure}: resize them.")
  if len(shape) == 4 and (hint := _hint_of_clips(given, shape)):
    raise UserError(f"x of shape {given}: {hint[0]}; {cure}: {hint[1]}.")
  raise UserError(f"x of shape {given}: {cure}.")


def _hint_of_clips(given: tuple[int, ...], shape: tuple[int, ...]) -> tuple[str, str] | None:
  """(what such an array seems to be, how it becomes clips [N,*shape]); None: nobody knows."""
  frames, height, width, channels = shape
  if given[1:] == (frames, channels, height, width):
    return "clips with the channels behind the frames", "give numpy.moveaxis(x, 2, -1)"
  if given[1:] == (channels, frames, height, width):
    return "clips with the channels first", "give numpy.moveaxis(x, 1, -1)"
  if given[1:] == (frames, height, width) or given[1:] == (frames, height, width, 1):
    return "grey clips", f"give numpy.repeat({'x[..., None]' if len(given) == 4 else 'x'}, 3, -1)"
  if len(given) == 4 and given[1:] == shape[1:]:
    return "the frames of one video, or images", f"cut clips of {frames} frames out, x[None, :{frames}]"
  if len(given) == 5 and given[2:] == shape[1:]:
    return f"clips of {given[1]} frames", f"give {frames} frames of each"
  if len(given) == 5 and given[4] == channels:
    return "clips of frames of another size", "resize them"
  return None
