"""Masked language model: words of a text are hidden, and told from all the others.

    L = mean over hidden words w at places p of -log softmax(E g(h_p) + b)_w

Devlin, Chang, Lee, Toutanova: BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, NAACL
2019, arXiv 1810.04805, section 3.1 (task 1) and appendix A. 15% of a text's words are chosen; of these 80% become MASK,
10% another word, 10% stay, so that no place may be taken as it is. h is the encoder's last block, E the table of its
word vectors, g a dense layer, gelu and layer normalisation. Deviations: words in place of word pieces; no second task
(whether a sentence follows another); small networks, fixed positions and normalisation in front, see `nn.vit`.
"""

import math
from collections.abc import Mapping

import flax.linen
import jax
import jax.numpy as jnp

from sslx import nn
from sslx.ops.text import FIRST, MASK, Vocabulary, is_word
from sslx.pretext.families import common
from sslx.types import Array, Batch, Params, Pretext, Refusal, State, UserError


class Answer(flax.linen.Module):
  """A dense layer, gelu and layer normalisation, in front of the words' own vectors."""

  width: int

  @flax.linen.compact
  def __call__(self, h: Array, table: Array, train: bool = False) -> Array:
    """[N,D], [V,D] -> logits [N,V]."""
    h = flax.linen.LayerNorm(name="norm")(flax.linen.gelu(flax.linen.Dense(self.width, name="dense")(h)))
    return h @ table.T + jnp.asarray(self.param("bias", flax.linen.initializers.zeros, (len(table),)))


def masked_words(
  encoder: nn.Encoder, vocabulary: Vocabulary, *, share: float = 0.15, mask: float = 0.8, swap: float = 0.1
) -> Pretext:
  """Tells hidden words from what is around them; for --encoder=transformer.

  share: of a text's words that are chosen, one at least; mask: of the chosen ones, how many are hidden; swap: how many
    become any other word; the rest stay as they are.
  """
  if encoder.block_names[0] != "tokens":
    raise Refusal("--method=masked_words: reads words in their order; use --encoder=transformer.")
  if not 0 < share <= 1:
    raise UserError(f"--hp=share={share:g}: must be in (0, 1], the fraction of a text's words that are chosen.")
  if min(mask, swap) < 0 or mask + swap > 1:
    raise UserError(f"--hp=mask={mask:g}, --hp=swap={swap:g}: must be at least 0, and 1 at most together.")

  def table(params: Params) -> Array:
    return params["encoder"]["tokens"]["table"]

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "head")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    h, vectors = common.last(outputs)[:, 0], params["tokens"]["table"]
    return {"encoder": params, "head": nn.init(Answer(h.shape[-1]), keys["head"], h, vectors)[0]}, {"encoder": stats}

  def hidden(key: Array, x: Array) -> tuple[Array, Array, Array, Array]:
    """Ids [B,T] -> (what is left of them, places [B,K] that were chosen, their words, whether there is one)."""
    chosen, kind, other = jax.random.split(key, 3)
    known = is_word(x)
    order, places = jax.lax.top_k(jnp.where(known, jax.random.uniform(chosen, x.shape), -1), slots(x.shape[1]))
    wanted = jnp.maximum(jnp.round(share * known.sum(1, keepdims=True)), 1)
    there = (order >= 0) & (jnp.arange(places.shape[1]) < wanted)
    words = jnp.take_along_axis(x, places, 1)
    u = jax.random.uniform(kind, words.shape)
    swapped = jax.random.randint(other, words.shape, FIRST, max(vocabulary.size, FIRST + 1), words.dtype)
    instead = jnp.where(u < mask, MASK, jnp.where(u < mask + swap, swapped, words))
    rows = jnp.arange(len(x))[:, None]
    return x.at[rows, places].set(jnp.where(there, instead, words)), places, words, there

  def slots(t: int) -> int:
    return max(1, math.ceil(share * t))

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    x, places, words, there = hidden(key, batch["x"])
    return {"x": x, "places": places, "words": words, "weight": there.astype(jnp.float32)}

  def logits_of(params: Params, state: State, view: Mapping[str, Array], train: bool) -> tuple[Array, State]:
    """(logits [B,K,V] of the chosen places, state)."""
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], view["x"], train=train)
    h = jnp.take_along_axis(common.last(outputs), view["places"][..., None], 1)
    logits, _ = nn.apply(Answer(h.shape[-1]), params["head"], {}, h.reshape(-1, h.shape[-1]), table(params))
    return logits.reshape(*h.shape[:2], -1), {**state, "encoder": stats}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    logits, state = logits_of(params, state, view, train=True)
    weight = view["weight"] / jnp.maximum(view["weight"].sum(), 1)
    right = jnp.take_along_axis(logits, view["words"][..., None], -1)[..., 0]
    value = ((jax.nn.logsumexp(logits, -1) - right) * weight).sum()
    return value, (state, {"accuracy": ((logits.argmax(-1) == view["words"]) * weight).sum()})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    view = transform(key, batch)
    logits, _ = logits_of(params, state, view, train=False)
    rows = jnp.arange(len(batch["x"]))[:, None]
    told = jnp.where(view["weight"] > 0, FIRST + logits[..., FIRST:].argmax(-1), view["words"])
    return {"text": batch["x"], "hidden": view["x"], "told": view["x"].at[rows, view["places"]].set(told)}

  return Pretext(init, loss, transform, common.no_update, show)
