"""Text: ids i32 [B,T] of words, PAD behind the end of a text and between the lines of a stream: see `sslx.ops.text`."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sslx.ops.text import FIRST, Vocabulary
from sslx.types import Array, Modality, UserError

WIDTH, LINES, LINE = 240, 6, 18  # of a picture: pixels, lines of text, and pixels of one


def prepare(x: Array) -> Array:
  """Ids [...,T] of any integer dtype -> i32; floats, such as bags of words, pass as they are."""
  if jnp.issubdtype(x.dtype, jnp.floating):
    return x.astype(jnp.float32)
  return x.astype(jnp.int32)


def picture(x: np.ndarray, meaning: Vocabulary) -> np.ndarray:
  """Texts i32 [B,T] -> images [B,H,W,1] of their first words; bags of words f32 [B,n] -> of their heaviest ones."""
  from PIL import Image, ImageDraw, ImageFont

  font = ImageFont.load_default(size=13)
  pictures = []
  for row in x:
    words = heaviest(row, meaning) if row.dtype.kind == "f" else meaning.decode(row)
    image = Image.new("L", (WIDTH, LINE * LINES + 6), 255)
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(_lines(words, lambda text: pen.textlength(text, font=font))):
      pen.text((5, 3 + number * LINE), line, 0, font=font)
    pictures.append(np.asarray(image, np.float32)[..., None] / 255)
  return np.stack(pictures)


def heaviest(bag: np.ndarray, vocabulary: Vocabulary) -> list[str]:
  """The words of a bag f32 [n], the heaviest first: place i is the word of id FIRST + i."""
  order = np.argsort(-bag, kind="stable")
  return [vocabulary.words[i] for i in order[: 4 * LINES] if bag[i] > 0.02 * max(bag.max(), 1e-9)]


def _lines(words: list[str], length: Any) -> list[str]:
  """The words in LINES lines that fit a picture, with dots where there are more."""
  lines, line = [], ""
  for word in words:
    longer = f"{line} {word}".strip()
    if length(longer) > WIDTH - 10 and line:
      lines.append(line)
      line = word
      if len(lines) == LINES:
        return [*lines[:-1], f"{lines[-1][:-2]}…"]
    else:
      line = longer
  return [*lines, line]


def accept(x: Any) -> Any:
  """Ids of numpy or jax as `prepare` takes them.

  Raises:
    UserError: other values.
  """
  if not jnp.issubdtype(x.dtype, jnp.integer):
    raise UserError(f"x: texts of dtype {x.dtype}; give ids of words, such as Vocabulary.encode makes.")
  if 0 not in x.shape and int(x.min()) < 0:
    raise UserError(f"x: an id of {int(x.min())}; ids are at least 0, and those of words at least {FIRST}.")
  return x


TEXT = Modality("text", prepare, picture, accept)
