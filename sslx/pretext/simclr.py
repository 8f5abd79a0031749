"""SimCLR: two random views of an image attract, all other images of the batch repel.

    L = NT-Xent(g(f(view1)), g(f(view2))),  temperature tau

Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
arXiv 2002.05709. The projection head g is dropped for probing. Views of grey images are not the paper's: affine,
elastic and intensity changes instead of crops and colour (sslx/views.py).
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sslx import losses, nn
from sslx.ops.image import to_float
from sslx.pretext import common
from sslx.types import Array, Batch, Params, Pretext, State, UserError
from sslx.views import build as build_views


def simclr(
  encoder: nn.Encoder,
  features: str = "flatten",
  *,
  temperature: float = 0.2,
  projector: tuple[int, ...] = (256, 128),
  views: str = "auto",
) -> Pretext:
  """Contrastive learning of two views.

  views: digits or photos with settings, such as digits:degrees=10,elastic=0 (sslx/views.py); auto goes by the colours.
  """
  if not 0 < temperature < math.inf:
    raise UserError(f"--hp=temperature={temperature:g}: must be positive.")
  if not projector or min(projector) < 1:
    raise UserError(f"--hp=projector={'-'.join(map(str, projector))}: needs widths of at least 1, such as 256-128.")
  head, view = nn.Projector(projector), build_views(views)

  def init(key: Array, batch: Batch) -> tuple[Params, State]:
    keys = common.split(key, "encoder", "projector")
    params, stats, outputs = common.init_encoder(encoder, keys["encoder"], batch["image"])
    return {"encoder": params, "projector": nn.init(head, keys["projector"], common.last(outputs))[0]}, {
      "encoder": stats
    }

  def transform(key: Array, batch: Batch) -> dict[str, Array]:
    image = to_float(batch["image"])
    one, two = jax.random.split(key)
    return {"view1": view(one, image), "view2": view(two, image)}

  def loss(params: Params, state: State, key: Array, view: Mapping[str, Array]):
    image = jnp.concatenate([view["view1"], view["view2"]])  # one pass: both views share batch statistics
    outputs, stats = nn.apply(encoder, params["encoder"], state["encoder"], image, train=True)
    z, _ = nn.apply(head, params["projector"], {}, common.last(outputs))
    z1, z2 = jnp.split(z, 2)
    return losses.nt_xent(z1, z2, temperature), ({**state, "encoder": stats}, {})

  def show(params: Params, state: State, key: Array, batch: Batch) -> dict[str, Array]:
    return {"original": to_float(batch["image"]), **transform(key, batch)}

  return Pretext(init, loss, common.encoder_features(encoder, features), transform, common.no_update, show)
