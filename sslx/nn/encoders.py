"""ENCODERS, every kind of encoder by name: `build("conv:widths=16-32-64")` makes one from its text.

Sound goes through a front first: `build("mel:bands=64+conv")` reads waveforms, and gives log-mel spectrograms to any
encoder of images. Encoders of text are built for a vocabulary: `build("bag+mlp", vocabulary=words)` reads ids of words,
and gives bags of them to dense layers. Of clips, `frames+` reads one frame after the other.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from sslx import options
from sslx.nn.blocks import ConvBlock, DenseBlock, MeanBlock, SplitBlock
from sslx.nn.encoder import Encoder
from sslx.nn.hearing import Front, conv1d, gru, mel, wave
from sslx.nn.resnets import resnet, resnet18, resnet50
from sslx.nn.video import frames, grid
from sslx.nn.vit import PatchEmbed, TransformerBlock
from sslx.nn.wording import bag, transformer, words
from sslx.ops.sound import share
from sslx.ops.text import NO_WORDS, Vocabulary
from sslx.types import Precision, Refusal, UserError

MAX_PARAMETERS = 200_000_000  # of an encoder, unless told otherwise: with their gradients and averages 3.2 GB
MAX_BLOCKS = 500  # and layers of a block: more take minutes to be compiled


def mlp(
  *, widths: tuple[int, ...] = (1000, 500), activation: Literal["relu", "sigmoid"] = "relu", code: int = 64
) -> Encoder:
  """Dense layers, then a linear code of `code` units (0: none). Any depth and width."""
  blocks = [(f"dense{i + 1}", functools.partial(DenseBlock, w, activation)) for i, w in enumerate(widths)]
  return Encoder(tuple(_with_code(blocks, code)), axes=None)


def conv(
  *,
  widths: tuple[int, ...] = (16, 32, 64),
  kernel: tuple[int, ...] = (3,),
  down: Literal["pool", "stride", "none"] = "pool",
  norm: Literal["none", "group", "layer", "batch"] = "none",
  code: int = 0,
) -> Encoder:
  """Convolution blocks, each halving height and width (rounded up: 28 -> 14 -> 7 -> 4), optional linear dense code.

  down: by max-pooling, by the convolution's stride, or not at all (28 -> 28 -> 28).
  kernel: sizes per block; the last one repeats.
  norm: in front of the relu; over an image's places and up to eight groups of channels (group), or all of its channels
    (layer), or for each channel over the whole batch.
  """
  make = functools.partial(ConvBlock, norm=norm, pool=down == "pool", stride=1 + (down == "stride"))
  kernels = (*kernel, *[kernel[-1]] * len(widths))  # the last one repeats
  blocks = [(f"block{i + 1}", functools.partial(make, w, kernel=kernels[i])) for i, w in enumerate(widths)]
  return Encoder(tuple(_with_code(blocks, code)), any_size=not code, batch_norm=norm == "batch")


def split(
  *,
  widths: tuple[int, ...] = (16, 32, 64),
  kernel: tuple[int, ...] = (3,),
  down: Literal["pool", "stride", "none"] = "pool",
  norm: Literal["none", "group", "layer", "batch"] = "none",
) -> Encoder:
  """Two disjoint networks of half the width, of an image's lightness and of its colour (L* | ab); images in colour.

  A block's output is both halves' channels; --features=block2:pool@1 reads the lightness half, @2 the colour half.
  Settings as for conv.
  """
  if any(w % 2 for w in widths):
    raise UserError(f"--encoder=split:widths={'-'.join(map(str, widths))}: must be even, each half gets half of it.")
  make = functools.partial(SplitBlock, norm=norm, pool=down == "pool", stride=1 + (down == "stride"))
  kernels = (*kernel, *[kernel[-1]] * len(widths))  # the last one repeats
  blocks = [
    (f"block{i + 1}", functools.partial(make, w, colour=i == 0, kernel=kernels[i])) for i, w in enumerate(widths)
  ]
  return Encoder(tuple(blocks), any_size=True, batch_norm=norm == "batch")


def rotnet(*, scale: float = 1.0) -> Encoder:
  """The small network of a published RotNet-on-MNIST notebook: 19,104 parameters for grey images.

  scale: what pixels in [0, 1] are multiplied by; 255 gives it 8-bit pixels as they are, as the notebook did.
  """
  make = functools.partial(ConvBlock, pool=True, ceil=False)
  blocks = [("block1", functools.partial(make, 64, stride=2, scale=scale)), ("block2", functools.partial(make, 32))]
  return Encoder(tuple(blocks), any_size=True)


def vit(*, width: int = 64, depth: int = 3, heads: int = 4, patch: int = 4, pool: bool = False) -> Encoder:
  """A small Vision Transformer: patches of patch x patch pixels, `depth` blocks of `width` units and `heads` heads.

  pool: whether a last block takes the mean over all patches, which heads then read; of large images they are many.
  """
  if width % 4 or width % heads:
    raise UserError(f"--encoder=vit:width={width},heads={heads}: the width must be a multiple of 4 and of the heads.")
  blocks = [(f"block{i + 1}", functools.partial(TransformerBlock, heads, final=i + 1 == depth)) for i in range(depth)]
  embed = ("patches", functools.partial(PatchEmbed, width, patch))
  last = [("pool", MeanBlock)] if pool else []
  return Encoder((embed, *blocks, *last), any_size=True, patch=patch)


ENCODERS: dict[str, Callable[..., Encoder]] = {
  "mlp": mlp, "conv": conv, "split": split, "rotnet": rotnet, "resnet": resnet, "resnet18": resnet18,
  "resnet50": resnet50, "vit": vit, "grid": grid, "wave": wave, "conv1d": conv1d, "gru": gru, "words": words,
  "transformer": transformer,
}  # fmt: skip
FRONTS: dict[str, Callable[..., Front]] = {"mel": mel, "bag": bag, "frames": frames}
"""What may stand in front of an encoder, and a plus: mel+conv."""
OF_MODALITY = {"sound": "mel", "text": "bag", "video": "frames"}
"""Which front an encoder gets that does not read such a signal itself."""


@functools.lru_cache(maxsize=64)
def build(
  spec: str, precision: Precision = "float32", vocabulary: Vocabulary | None = None, remat: bool = False
) -> Encoder:
  """An encoder from its text: `conv`, `conv:widths=16-32-64,code=32` or, with a front, `mel:bands=64+conv`. The same
  text gives the same object, so that what was compiled for it is used again.

  vocabulary: of the data, for encoders of text; the names of their blocks are the same without it.
  precision: bfloat16 multiplies and keeps activations in half the bits, forward and backward, see `apply`.
  remat: less memory for a second forward pass, see `Encoder`.

  Raises:
    UserError: unknown kind or option (with the nearest names), a size that is not positive, or too many blocks.
  """
  vocabulary = vocabulary or NO_WORDS
  how: dict[str, Any] = {"precision": precision, "remat": remat, "spec": spec}
  front, plus, behind = spec.partition("+")
  if not plus:
    return _made(ENCODERS, spec, spec, vocabulary).clone(**how)
  first, inner = _made(FRONTS, front, spec, vocabulary), _made(ENCODERS, behind, spec, vocabulary)
  if inner.axes == 1:
    raise UserError(f"--encoder={spec}: {behind} reads {_signal(inner)} itself; leave {front}+ out.")
  kind = front.partition(":")[0]
  blocks, is_text = ((kind, first), *inner.blocks), kind == OF_MODALITY["text"]
  if kind == OF_MODALITY["video"]:
    axes = None if inner.axes is None else inner.axes + 1
    return inner.clone(blocks=blocks, front=True, axes=axes, clips=True, **how)
  if is_text and inner.axes is not None:
    raise UserError(f"--encoder={spec}: {behind} reads images, and a bag of words is none; try {front}+mlp.")
  of_kind = {"ids": True} if is_text else {"share": share}
  return inner.clone(blocks=blocks, front=True, axes=1, **of_kind, **how)


def _signal(encoder: Encoder) -> str:
  if encoder.clips:
    return "clips"
  return "ids of words" if encoder.ids else "waveforms" if encoder.axes == 1 else "images"


def suited(spec: str, modality: str, rate: int = 0) -> str:
  """The encoder's text for data of a modality, and of sound of `rate` samples a second: `conv` becomes
  `mel:rate=16000+conv`, and for text `mlp` becomes `bag+mlp`.

  Raises:
    UserError: it says another rate.
  """
  if modality not in OF_MODALITY:
    return spec
  spec = spec if "+" in spec or build(spec).axes == 1 else f"{OF_MODALITY[modality]}+{spec}"
  if not rate:
    return spec
  first, plus, behind = spec.partition("+")
  kind, _, settings = first.partition(":")
  table = FRONTS if plus else ENCODERS
  build(spec)  # says what is wrong with it
  given = options.parse(table[kind], [s for s in settings.split(",") if s], f"--encoder={kind}:").get("rate")
  if given not in (None, rate):
    raise UserError(f"--encoder={spec}: is for {given} samples a second, and the data has {rate}; leave rate out.")
  if given is None and rate != options.resolve(table[kind], {})["rate"]:
    first = f"{kind}:rate={rate}{',' if settings else ''}{settings}"
  return f"{first}{plus}{behind}"


def _made(table: Mapping[str, Callable[..., Any]], text: str, spec: str, vocabulary: Vocabulary) -> Any:
  """The entry of a table that `text`, a part of `spec`, names, with its settings."""
  kind, _, settings = text.partition(":")
  if kind not in table:
    known = [*table, *([f"{front}+" for front in FRONTS] if table is ENCODERS else [])]
    what = "encoder" if table is ENCODERS else "front"
    raise UserError(f"--encoder={spec}: no {what} is called {kind!r}.{options.nearest(kind, known)}")
  values = options.parse(table[kind], [s for s in settings.split(",") if s], f"--encoder={kind}:")
  for name, value in values.items():
    number = isinstance(value, int | float) and not isinstance(value, bool)
    sizes = value if isinstance(value, tuple) else (value,) if number else ()
    if any(s < 0 if name == "code" or (kind, name) == ("conv1d", "context") else s <= 0 for s in sizes) or value == ():
      raise UserError(f"--encoder={spec}: {name} must be positive.")
    if len(sizes) > MAX_BLOCKS or (name == "depth" and table is ENCODERS and max(sizes) > MAX_BLOCKS):
      raise UserError(f"--encoder={spec}: {name}: more than {MAX_BLOCKS} blocks.")
  given = (vocabulary,) if "vocabulary" in inspect.signature(table[kind]).parameters else ()
  return table[kind](*given, **values)


def _with_code(blocks: list, code: int) -> list:
  return [*blocks, ("code", functools.partial(DenseBlock, code, "linear"))] if code else blocks


def check_input(spec: str, encoder: Encoder, shape: Sequence[int], modality: str = "image") -> None:
  """Raises Refusal where an encoder does not read examples of this modality and shape, and says which do."""
  if encoder.axes == 1 and encoder.ids != (modality == "text") and len(shape) == 1:
    others = [kind for kind in ENCODERS if (made := build(kind)).axes == 1 and made.ids != encoder.ids]
    front = OF_MODALITY.get(modality, "")
    raise Refusal(
      f"--encoder={spec}: reads {_signal(encoder)}, and the data is {modality}; encoders that read it: "
      f"{', '.join([*others, f'{front}+mlp'])}."
    )
  if encoder.axes is not None and len(shape) != encoder.axes:
    others = [kind for kind in ENCODERS if build(kind).axes in (None, len(shape))]
    raise Refusal(
      f"--encoder={spec}: reads examples of {encoder.axes} axes, and these have {len(shape)}: {tuple(shape)}; "
      f"encoders that read them: {', '.join(others)}."
    )


def check_size(spec: str, encoder: Encoder, shape: Sequence[int], limit: int = MAX_PARAMETERS) -> None:
  """Raises UserError for an encoder that has more than `limit` parameters, or whose blocks make more than `limit`
  numbers of one example of this shape. Only shapes are computed, so that it takes no memory, whatever its size. Of
  examples that it does not read, see `check_input`, it makes nothing.
  """
  if encoder.axes not in (None, len(shape)):
    return
  dtype = jnp.int32 if encoder.ids else jnp.float32
  key, x = jax.eval_shape(jax.random.key, 0), jax.ShapeDtypeStruct((1, *shape), dtype)
  plain = encoder.clone(precision="float32")
  outputs, variables = jax.eval_shape(lambda key, x: plain.init_with_output(key, x), key, x)
  check_count(f"--encoder={spec}: has", "parameters", variables, limit)
  check_count(f"--encoder={spec}: makes", f"numbers of one example of {tuple(shape)}", outputs, limit)


def check_count(what: str, of: str, tree: Any, limit: int) -> None:
  """Raises UserError where the leaves of `tree`, which may be shapes alone, hold more than `limit` numbers."""
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
  if count > limit:
    told = f"{count:,}" if count < 10**9 else f"{count:.2g}"
    raise UserError(f"{what} {told} {of}; make it smaller, or allow as many by --max_parameters (now {limit:,}).")
