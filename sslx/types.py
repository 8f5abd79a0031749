"""The names every other module speaks in. Imports no sibling.

A method, from an autoencoder to BYOL, and the supervised baseline too, is a `Pretext`: a NamedTuple of pure functions.
One train step (`sslx/training/step.py`) serves all of them. What is read, and what is asked of it, are tuples too:
`Modality` and `Task`.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
  from jax import Array

Params = dict[str, Any]  # trainable, by role: encoder (ENCODER, always), decoder, head, predictor, context ...
State = dict[str, Any]  # gradient-free, by role: encoder (batch statistics), target network, queue, centre
Batch = Mapping[str, Any]  # x: the signal [B,...], prepared (see Modality); y: its targets [B,...], where there are any
Metrics = dict[str, "Array"]  # scalars
View = Any  # what `transform` makes of a batch and `loss` reads

Optimizer = Literal["adamw", "sgd", "lars", "descent"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["float32", "bfloat16"]
Subset = Literal["balanced", "stratified"]  # every class alike, or in proportion to its frequency


def __getattr__(name: str) -> Any:
  """`Array` is jax's, which takes a second to import: the command line and its help do without."""
  if name == "Array":
    from jax import Array

    return Array
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


ENCODER = "encoder"  # the role of what a method leaves behind, in its params and its state


# ---- what Python shows of values -------------------------------------------------------------------------------------

WIDTH, LINES = 120, 3  # of a value's text
PART, LEAST = 100, 25  # characters of one of its fields: at most, and from which one is cut
SHOWN_ITEMS = 4  # of a sequence


def brief(self: Any, inner: bool = False) -> str:
  """The `__repr__` of a NamedTuple or dataclass: its first field, and the others that are not at their defaults, in at
  most three lines.

  An array is told by its dtype and shape, a function by its name, and a dict of arrays by its keys. Nothing is read
  from a disk or a device, and nothing is computed.

  inner: as a part of another one's, it is shorter and leaves its functions out.
  """
  kind, parts, room = type(self), [], PART if inner else WIDTH * LINES - 40
  names = getattr(kind, "_fields", None) or [field.name for field in dataclasses.fields(self)]
  defaults = getattr(kind, "_field_defaults", vars(kind))
  for name in names:
    value, default = getattr(self, name), defaults.get(name, dataclasses.MISSING)
    is_default = value is default or (_is_plain(value) and (value == default or value == {}))
    if (is_default and parts) or (inner and hasattr(value, "__qualname__")):
      continue
    part = f"{name}={_brief_value(value)}"
    if len(part) > room:
      parts.append(cut(part, room) if room > LEAST else "...")
      break
    parts.append(part)
    room -= len(part) + len(", ")
  return folded(f"{kind.__name__}({', '.join(parts)})")


def folded(text: str) -> str:
  """A text on at most three lines, and cut where it is longer."""
  lines = textwrap.wrap(visible(text), WIDTH, subsequent_indent="  ", break_on_hyphens=False)
  rest = " ".join(line.strip() for line in lines[LINES - 1 :])
  return "\n".join(lines if len(lines) <= LINES else [*lines[: LINES - 1], f"  {cut(rest, WIDTH - 2)}"])


def cut(text: str, length: int) -> str:
  """The text, or its beginning and three dots."""
  return text if len(text) <= length else f"{text[: length - 3]}..."


def _brief_value(value: Any) -> str:
  if hasattr(value, "shape") and hasattr(value, "dtype"):
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"
  if isinstance(value, functools.partial):
    return _brief_value(value.func)
  if hasattr(value, "__qualname__"):  # a function
    return value.__qualname__.replace("<locals>.", "")
  if type(value).__repr__ is brief:
    return " ".join(brief(value, inner=True).split())
  if isinstance(value, Mapping) and not all(map(_is_plain, value.values())):
    return cut(f"{{{', '.join(map(str, value))}}}", PART)
  if type(value) in (tuple, list) and not (_is_plain(value) and len(value) <= SHOWN_ITEMS):
    more = f", ... {len(value)} in all" if len(value) > SHOWN_ITEMS else ""
    return cut(f"({', '.join(map(_brief_value, value[:SHOWN_ITEMS]))}{more})", PART)
  if _is_plain(value) or type(value).__module__.startswith("sslx."):
    return cut(" ".join(repr(value).split()), PART)
  return f"{type(value).__name__}(...)"


def _is_plain(value: Any) -> bool:
  """Whether it is a number, a text or a few of them, whose own repr reads nothing."""
  if type(value) in (tuple, list, dict):
    return len(value) <= PART and all(map(_is_plain, value.values() if isinstance(value, dict) else value))
  return value is None or isinstance(value, str | int | float)


# ---- methods, signals and tasks --------------------------------------------------------------------------------------


class Pretext(NamedTuple):
  """A self-supervised method (or the supervised baseline) as pure functions."""

  init: Callable[[Array, Batch], tuple[Params, State]]
  """(key, batch) -> (params, state), both with the role ENCODER. Called under jit."""
  loss: Callable[[Params, State, Array, View], tuple[Array, tuple[State, Metrics]]]
  """(params, state, key, view) -> (scalar, (state, metrics)). Training mode."""
  transform: Callable[[Array, Batch], View]
  """(key, batch) -> view: corrupt, two views, patches; pure JAX, on the device."""
  update: Callable[[Params, State, Array], State]
  """(params after the optimiser, state, step) -> state: EMA targets, schedules."""
  show: Callable[[Params, State, Array, Batch], dict[str, Array]] | None = None
  """(params, state, key, batch) -> {row title: what the method sees and makes, [B,...]
  as x}, in the order of a report."""
  decode: Callable[[Params, State, Array, tuple[int, ...]], Array] | None = None
  """(params, state, output of the encoder's last block [B,...], shape of one x) -> x [B,...], where the method has a
  decoder. Evaluation mode."""
  sparse: Callable[[Array], Array] | None = None
  """What training leaves of the codes [B,...] of a batch before they are decoded, where only some may speak: without it
  a reconstruction is a sum of far too many."""
  rates: Mapping[str, float] | None = None
  """{role: its learning rate as a multiple of the others'}, for instance of an adversary."""
  chance: Mapping[str, float] | None = None
  """{metric: what guesses reach}, of metrics that are shares of right answers to the method's own task."""
  views: str | None = None
  """The text of the random views that it trains on (`sslx.modalities.views`): a report draws each operation alone."""
  rows: Callable[[View], dict[tuple[str, ...], Array]] | None = None
  """view -> {path of a table [V,d] in params, such as ("encoder", "vectors", "table"): ids i32 [...] of the rows that
  `loss` reads}, where a step reads few rows of a large table. `loss` then gets params with table[ids] [...,d] in place
  of each such table (`gathered`); an id may stand in `ids` several times."""

  __repr__ = brief


def gathered(pretext: Pretext, params: Params, view: View) -> Params:
  """The params that `pretext.loss` gets: `params`, with the rows that the view needs in place of their tables."""
  for path, ids in (pretext.rows(view) if pretext.rows else {}).items():
    table: Any = functools.reduce(lambda tree, name: tree[name], path, params)
    params = replaced(params, path, table[ids])
  return params


def replaced(tree: Params, path: Sequence[str], value: Any) -> Params:
  """The tree with `value` in place of what stands at `path`."""
  first, *rest = path
  return {**tree, first: replaced(tree[first], rest, value) if rest else value}


class Modality(NamedTuple):
  """A kind of signal: images, sound, text, video. An entry of `sslx.modalities.MODALITIES`."""

  name: str
  prepare: Callable[[Array], Array]
  """Raw array [B,...] -> what networks read. Once: in the train step before `transform`, and in feature extraction."""
  picture: Callable[[np.ndarray, Any], np.ndarray]
  """(prepared x [B,...], what tells what it means: `Dataset.meaning`) -> images [B,H,W,C] in [0, 1]: how a report draws
  it."""
  accept: Callable[[Any], Any] | None = None
  """Raw x [B,...] of numpy or jax, which someone gives a model -> what `prepare` reads as it is meant; UserError for
  values that cannot be meant. None: there are none. For arrays with values only, and no part of what is jitted."""

  __repr__ = brief

  def draw(self, raw: Any, meaning: Any) -> np.ndarray:
    """(Raw x [B,...], what tells what it means: `Dataset.meaning`) -> images [B,H,W,C] in [0, 1]."""
    import jax.numpy as jnp

    return self.picture(np.asarray(self.prepare(jnp.asarray(raw))), meaning)


class Score(NamedTuple):
  """How a score is told: its name, unit and direction in every table, figure, sentence and page."""

  name: str = "accuracy"
  unit: str = "%"
  difference: str = "points"  # the unit of a difference between two scores
  factor: float = 100.0  # what a score is multiplied by to be in its unit
  higher_is_better: bool = True


class Head(Protocol):
  """What reads a task's answers off features."""

  @property
  def chosen(self) -> dict[str, Any]:
    """The hyper-parameters that were chosen for it."""
    ...

  @property
  def size(self) -> int:
    """Number of its parameters."""
    ...

  def outputs(self, features: Any) -> Any:
    """f32 [N,...] -> answers [N,...], as the task's `scores` and `decide` read them."""
    ...


class Task(NamedTuple):
  """What is asked with labels: an entry of `sslx.tasks.TASKS`, made for a data set.

  A network puts out `outputs` numbers for each x, or for each place of it. `answer` turns them into answers: classes'
  logits, numbers, a mask or boxes.
  """

  name: str
  outputs: int
  """Numbers a network puts out for each x, or for each of its places."""
  names: tuple[str, ...]
  """Of the classes, or of the numbers that are asked for."""
  score: Score
  """How the first of `scores` is told."""
  loss: Callable[[Array, Array], Array]
  """(outputs [B,...,K], y [B,...]) -> [B]."""
  scores: Callable[[Any, Any], dict[str, Any]]
  """(answers, y) -> {name: scalar}; the first is the table's. Of numpy arrays."""
  decide: Callable[[Any], Any]
  """Answers -> what they say y is."""
  subset: Callable[[np.ndarray, Sequence[int], int, Subset], dict[int, np.ndarray]]
  """(y, sizes, seed, how) -> {size: rows}: few labels, nested, and balanced or stratified."""
  folds: Callable[[np.ndarray, int, int], list[tuple[np.ndarray, np.ndarray]]]
  """(y, k, seed) -> (train, valid) rows; ValueError where y is too few to be split."""
  head: Callable[[], Any]
  """The flax module that a network ends in: features -> outputs."""
  fit_head: Callable[..., Head] | None = None
  """(features f32 [N,D], y [N,...], reference f32 [M,D], *, seed, heldout=None, versions=1, groups=None) -> a linear
  head, its hyper-parameters chosen inside (features, y) or on heldout = (features, y). reference: unlabelled features,
  for statistics. versions: how often each example stands there, one version of all behind the other; groups: i32, of
  which whole ones are left out for the choice. None: a frozen encoder's head is trained by gradient, as in the other
  modes."""
  probabilities: Callable[[np.ndarray], np.ndarray] | None = None
  """Answers -> how likely each is, [N,K], where they are of things of which one is so; else None."""
  reading: str = "flatten"
  """How it reads an encoder, unless told otherwise: see `sslx.nn.features`."""
  answer: Callable[[Array], Array] | None = None
  """Outputs of a network -> answers, on the device; None: they are the same."""
  watched: Callable[[Array, Array], dict[str, Array]] | None = None
  """(outputs, y) -> {name: scalar}: what is watched of a training run, on the device. None: `scores`."""
  units: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
  """y of a labelled subset -> (shift, scale) [K]: a network learns (y - shift) / scale. None: y as it is."""
  recipe: tuple[tuple[str, Any], ...] = ()
  """What training by gradient takes unless told otherwise: (field of `sslx.evaluation.recipe.Recipe`, value) ..."""
  fewest: int = 1
  """Labels that a subset has at least: of classes one of each."""
  requires: str = ""
  """The extra of sslx that its scores need, such as detection; empty: none."""

  __repr__ = brief

  @property
  def is_dense(self) -> bool:
    """Whether it reads maps [B,h,w,D], and answers for places of an example."""
    return self.reading.startswith("maps")

  def check_reading(self, reading: str) -> None:
    """Raises UserError for a reading that its head cannot use: a task of places has a head for maps of one fineness,
    and others take no maps.
    """
    if self.is_dense and reading != self.reading:
      raise UserError(f"--features={reading}: {self.name} reads {self.reading}; leave --features out.")
    if not self.is_dense and reading.startswith("maps"):
      raise UserError(f"--features={reading}: {self.name} reads no maps; leave --features out.")


class TrainState(NamedTuple):
  """All that a training run carries from step to step, and all that a checkpoint keeps."""

  step: Array  # i32[]
  key: Array  # typed PRNG key; step randomness is fold_in(key, step), so a resumed run is the same run
  params: Params
  state: State
  opt_state: Any

  __repr__ = brief


class UserError(Exception):
  """Bad input: one line that names the flag or file and says what to do.
  `experiments` prints it without a traceback."""


class Refusal(UserError):
  """A method, or an encoder, does not take such data, or a method such an encoder. A comparison leaves it out and goes
  on; what else may go wrong ends it."""


# Control characters, those that turn the direction of writing around, line separators, and bytes that are no text.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object) -> str:
  """A text as it may be shown on a terminal, on one line: what does not show itself becomes an escape such as \\x1b.

  Names of files and values of flags are others' texts: as they are, they could move the cursor, hide a line, or read
  backwards. A text that went through here stays as it is.
  """

  def escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    code -= 0xDC00 if 0xDC80 <= code <= 0xDCFF else 0  # how Python keeps a byte of a file's name that is no text
    return f"\\x{code:02x}" if code < 0x80 or code != ord(match[0]) else f"\\u{code:04x}"

  return _UNSEEN.sub(escape, str(text))
