"""Contrastive predictive coding of sound: from what has been heard, tell which frame comes k frames later.

    L = -mean over k of log exp(z_(t+k) . W_k c_t) / sum over candidates j of exp(z_j . W_k c_t)

van den Oord, Li, Vinyals: Representation Learning with Contrastive Predictive Coding, 2018, arXiv 1807.03748, section
3.1. z_t is what the encoder's block before the last makes of frame t, and c_t its last block, a recurrent context of
the frames up to t. Each of the `ahead` steps has a matrix W_k. Candidates are the true frame and negatives, of which
there are two kinds: the other frames of the same recording, and frames of the batch's other recordings. Padding is
never a context, a target or a negative. Deviations: whole recordings, where the paper cuts 20,480 samples out of long
ones; all other frames of the same recording are negatives, and of other recordings `candidates` frames that are drawn
in each step of training, for each recording and the same for all k, since all frames of a batch would be thousands;
smaller networks; the mean is over those k that some recording is long enough for; W_k starts at zero, where the loss is
the mean log of the number of candidates. With --encoder=mel+gru a frame is 32 ms of sound, one every 10 ms, so that
the true one shares a part with what was heard where k < 4.
"""

import functools
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from sslx import nn
from sslx.pretext.families import checks, common, frames
from sslx.types import Array, Batch, Params, Pretext, Refusal, State


def cpc_audio(
  encoder: nn.Encoder,
  *,
  ahead: int = 12,
  negatives: Literal["all", "same", "others"] = "all",
  candidates: int = 128,
) -> Pretext:
  """Contrastive predictive coding of sound, for an encoder with a context: --encoder=mel+gru or wave.

  What all candidates have in common does not help to tell them apart, and is not learnt for it. Frames of the same
  recording share the speaker, the room and the microphone, and differ in what is said; frames of others are told by
  the speaker already.

  ahead: predictions reach so many frames ahead, of 10 ms each.
  negatives: of the same recording, of others, or all of them.
  candidates: frames that are drawn of the other recordings of a batch, for each recording.
  """
  frames.check("cpc_audio", encoder, waves=True)
  checks.at_least_one(ahead=ahead, candidates=candidates)

  def hear(params: Params, state: State, x: Array, train: bool) -> tuple[Array, Array, State]:
    """Waveforms [B,T] -> (z [B,t,D], c [B,t,C], state after)."""
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], x, train=train)
    z, c = list(outputs.values())[-2:]
    return z, c, {**state, "encoder": stats}

  def steps(z: Array) -> nn.Linear:
    """All W_k side by side."""
    return nn.Linear(ahead * z.shape[-1], zero=True, bias=False)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "steps")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["x"])
    z, c = list(outputs.values())[-2:]
    return {"encoder": params, "steps": nn.init(steps(z), keys["steps"], c[:, 0])[0]}, {"encoder": stats}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    z, c, state = hear(params, state, view["x"], train=True)
    b, t, d = z.shape
    recorded = frames.recorded(encoder, view["x"], t)
    if t < 2:
      raise Refusal(
        f"--method=cpc_audio: recordings of {view['x'].shape[1]} samples are one frame, without a next one."
      )
    predicted = nn.apply(steps(z), params["steps"], {}, c.reshape(b * t, -1))[0].reshape(b, t, ahead, d)
    pool, usable, chance = [], [], 1 / candidate_counts(recorded)
    if negatives != "others":
      at = jnp.arange(t)
      is_target = at == at[:, None, None] + jnp.arange(1, ahead + 1)[:, None]  # [t,ahead,t]
      pool.append(z)
      usable.append(recorded[:, None, None] & ~is_target)
    if negatives != "same":
      there = recorded.sum(1) < recorded.sum()
      pool.append(z.reshape(b * t, d)[draw(key, recorded, candidates)])
      usable.append(jnp.broadcast_to(there[:, None, None, None], (b, t, ahead, candidates)))
    scores = predicted.reshape(b, t * ahead, d) @ jnp.concatenate(pool, axis=1).swapaxes(1, 2)
    wrong = jnp.where(jnp.concatenate(usable, axis=-1), scores.reshape(b, t, ahead, -1), -jnp.inf)
    value, right = picked((predicted * later(z, ahead)).sum(-1), wrong)
    asked = later(recorded, ahead)
    mean = functools.partial(mean_of_each_step, asked)
    accuracy, are_asked = mean(right), jnp.maximum(asked.any((0, 1)).sum(), 1)
    metrics = {"accuracy": accuracy.sum() / are_asked, "chance": mean(chance[:, None, None]).sum() / are_asked}
    metrics |= {f"accuracy_{k}": share for k, share in enumerate(accuracy, 1)}
    return mean(value).sum() / are_asked, (state, metrics)

  def candidate_counts(recorded: Array) -> Array:
    """bool [B,t] -> f32 [B]: how many candidates there are for each target of a recording, itself one of them."""
    n = recorded.sum(1)
    same, others = jnp.maximum(n - 1, 0), jnp.where(n < n.sum(), candidates, 0)
    return 1.0 + (negatives != "others") * same + (negatives != "same") * others

  return Pretext(init, loss, common.as_is, common.no_update)


def later(x: Array, ahead: int) -> Array:
  """[B,t,...] -> [B,t,ahead,...]: what lies 1 .. ahead places after each; zero beyond the end."""
  t, beyond = x.shape[1], [(0, 0)] * (x.ndim - 2)
  x = jnp.pad(x, ((0, 0), (0, ahead), *beyond))
  return jnp.stack([x[:, k : k + t] for k in range(1, ahead + 1)], axis=2)


def draw(key: Array, recorded: Array, count: int) -> Array:
  """recorded bool [B,t], of each recording its first frames -> i32 [B,count]: for each recording, frames of the others,
  numbered through the batch. Which ones does not depend on how much padding there is.
  """
  n = recorded.sum(1)
  end, others = jnp.cumsum(n), n.sum() - n
  place = jnp.floor(jax.random.uniform(key, (len(n), count), jnp.float32) * others[:, None]).astype(jnp.int32)
  place = jnp.clip(place, 0, jnp.maximum(others[:, None] - 1, 0))
  place += jnp.where(place >= (end - n)[:, None], n[:, None], 0)  # those of its own are passed over
  which = jnp.minimum(jnp.searchsorted(end, place, side="right"), len(n) - 1)
  return which * recorded.shape[1] + place - (end - n)[which]


def picked(true: Array, wrong: Array) -> tuple[Array, Array]:
  """Scores of the true candidate [...], and of the wrong ones [...,N], -inf for none -> (loss, share of right answers)
  [...] of picking the true one by the softmax of scores. Of equal scores one is picked at random.
  """
  most = jax.lax.stop_gradient(jnp.maximum(true, wrong.max(-1)))
  # sums as products: a reduction on the CPU takes in the exponentials, and evaluates them one by one
  ones = jnp.ones(wrong.shape[-1], wrong.dtype)
  total = jnp.exp(true - most) + jnp.exp(wrong - most[..., None]) @ ones
  equal = 1 + (wrong == most[..., None]).astype(wrong.dtype) @ ones
  return jnp.log(total) + most - true, (true == most) / equal


def mean_of_each_step(asked: Array, value: Array) -> Array:
  """value [B,t,ahead] or what broadcasts to it -> [ahead]: its mean where asked, bool [B,t,ahead]; 0 where nowhere."""
  return jnp.where(asked, value, 0).sum((0, 1)) / jnp.maximum(asked.sum((0, 1)), 1)
