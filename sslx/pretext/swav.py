"""SwAV: predict from one view of an image to which prototypes the other view was assigned, all prototypes used equally.

    L = [H(sg(q2), p1) + H(sg(q1), p2)] / 2,  p = softmax(z C^T / T),  q = Sinkhorn(z C^T / epsilon)

z and the rows of C, the prototypes, have unit length. Sinkhorn's three iterations share each view's batch out among the
prototypes in equal parts, which is what keeps embeddings from collapsing. Caron, Misra, Mairal, Goyal, Bojanowski,
Joulin: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020, arXiv 2006.09882.
Theirs is twice as large (a sum over both directions). Deviations: prototypes are normalised where they are used, not
after each step, and train from the first one on; one queue for both views, used from the start, where it holds random
directions; no multi-crop; far fewer prototypes (theirs 3000); views as in `simclr`.
"""

import jax

from sslx import losses, nn
from sslx.pretext.families import averages, checks, common
from sslx.pretext.families.twins import View, prototypes_on, twins
from sslx.types import Array, Batch, Params, Pretext, State, UserError


def swav(
  encoder: nn.Encoder,
  *,
  prototypes: int = 128,
  temperature: float = 0.1,
  epsilon: float = 0.05,
  queue: int = 0,
  projector: tuple[int, ...] = (256, 128),
  views: str = "auto",
) -> Pretext:
  """Swapped assignments of two views.

  prototypes: K; epsilon: how soft the codes q are.
  queue: past embeddings that are shared out along with the batch, for batches that are small against K.
  views: as in simclr.
  """
  checks.positive(temperature=temperature, epsilon=epsilon)
  if queue < 0:
    raise UserError(f"--hp=queue={queue}: a number of embeddings, 0 for none.")
  base = twins(encoder, projector, True, views)
  c = prototypes_on(base, prototypes, projector[-1])

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "base", "queue")
    params, state = c.init(keys["base"], batch)
    if queue:  # no role else: a checkpoint does not take an empty array
      state = {**state, "queue": losses.normalised(jax.random.normal(keys["queue"], (queue, projector[-1])))}
    return params, state

  def loss(params: Params, state: State, key: Array, view: View):
    z1, z2, state = base.project(params, state, view)
    s1, s2 = c.score(params, z1, z2)
    past = losses.cosines(state["queue"], params["prototypes"]) if queue else None
    q1, q2 = (jax.lax.stop_gradient(losses.sinkhorn(s, epsilon, past=past)) for s in (s1, s2))
    value = losses.swapped(q1, q2, s1 / temperature, s2 / temperature)
    if queue:
      first, second = losses.normalised(z1), losses.normalised(z2)
      state = {**state, "queue": averages.enqueue(averages.enqueue(state["queue"], second), first)}
    nearest = jax.nn.one_hot(s1.argmax(axis=1), prototypes)  # codes are equally used by force, these are not
    metrics = {
      "prototypes_used": losses.perplexity(nearest.mean(axis=0)),
      "code_accuracy": losses.accuracy(s1, q2.argmax(axis=1)),
    }
    return value, (state, {**losses.spread(z1, z2), **metrics})

  return Pretext(init, loss, base.transform, common.no_update, base.show, views=base.views)
