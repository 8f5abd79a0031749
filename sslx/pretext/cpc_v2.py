"""CPC v2: contrastive predictive coding in four directions, on larger patches that each draw their own augmentation.

    L = mean over down, up, right, left of -mean over k of
        log exp(V z_(i+k) . W_k c_i) / sum over all patches j of the batch of exp(V z_j . W_k c_i)

Henaff, Srinivas, De Fauw, Razavi, Doersch, Eslami, van den Oord: Data-Efficient Image Recognition with Contrastive
Predictive Coding, ICML 2020, arXiv 1905.09272. See `cpc`, and for layer normalisation --encoder=conv:norm=layer. The
grid of patches is turned for each direction, and each has a context network of its own; V is shared. Each patch of a
colour image keeps one of its channels (see `context_prediction`). Deviations: smaller networks; W_k starts at zero
instead of small; views of grey patches are ours, as the paper's are of photographs.
"""

from typing import Literal

from sslx import nn
from sslx.modalities import views as viewing
from sslx.ops import tiles as ops
from sslx.pretext.families import common, prediction
from sslx.types import Array, Pretext

WEAK = ("digits:degrees=5,scale=0.1,shift=0.1,shear=0.1,elastic=0,contrast=0.3", "photos:crop=0.6,jitter=0.5,grey=0")


def cpc_v2(
  encoder: nn.Encoder,
  *,
  patch: int = 0,
  ahead: int = 3,
  skip: int = 0,
  context: Literal["conv", "gru"] = "conv",
  width: int = 64,
  depth: int = 2,
  target: int = 64,
  views: str = "auto",
  drop_colour: bool = True,
) -> Pretext:
  """Contrastive predictive coding in four directions.

  patch: as in cpc, 0: about a third of the image's shorter side.
  ahead, skip, context, width, depth: as in cpc, for each direction.
  target: units of V.
  views: of each patch on its own: digits or photos with settings
    (sslx/modalities/views.py), auto: weak ones by the colours.
  drop_colour: each patch of a colour image keeps one channel only.
  """
  prediction.check("cpc_v2", encoder, patch=patch, ahead=ahead, width=width, depth=depth, target=target)
  view = viewing.build(views, WEAK)

  def augment(key: Array, tiles: Array) -> Array:
    """Patches [B,n,h,w,C], each with its own randomness."""
    keys = common.split(key, "view", "colour")
    tiles = view(keys["view"], tiles.reshape(-1, *tiles.shape[2:])).reshape(tiles.shape)
    return ops.one_channel(keys["colour"], tiles) if drop_colour else tiles

  net = prediction.predictor(context, width, depth, ahead, skip, target)
  embed = nn.Linear(target, bias=False)
  return prediction.predict_patches(encoder, net, tuple(prediction.DIRECTIONS), patch, 6, augment, embed)
