"""Contrastive predictive coding: from the rows of patches above, tell which patch lies further below.

    L = -mean over k of log exp(z_(i+k) . W_k c_i) / sum over all patches j of the batch of exp(z_j . W_k c_i)

van den Oord, Li, Vinyals: Representation Learning with Contrastive Predictive Coding, 2018, arXiv 1807.03748, section
3.3. Patches overlap by half; one encoder reads each on its own, and its last block's mean over the patch is z. The
context c_i is made of row i and those above. The true patch stands against all others of the batch, those of its own
image too. Batch normalisation is refused, as it lets patches see each other (section 3.3 does without). Deviations:
smaller networks; three rows are predicted, not five, and their losses averaged; no flips, crops and greys of the image
or of patches; W_k starts at zero, where the loss is log N of N prediction.
"""

from typing import Literal

from sslx import nn
from sslx.pretext.families import prediction
from sslx.types import Pretext


def cpc(
  encoder: nn.Encoder,
  *,
  patch: int = 0,
  ahead: int = 3,
  skip: int = 0,
  context: Literal["conv", "gru"] = "conv",
  width: int = 64,
  depth: int = 2,
) -> Pretext:
  """Contrastive predictive coding, downwards.

  Where many patches are alike, as MNIST's black ones, none can be told for sure: the accuracies stay far below 1.

  patch: height and width of a patch in pixels; 0: about a quarter of the image's shorter side.
  ahead: predictions reach so many rows down, or as many as there are; skip: the first so many rows are not predicted.
  context: masked convolutions, or gated recurrent units down the columns; width, depth: their units and layers.
  """
  prediction.check("cpc", encoder, patch=patch, ahead=ahead, width=width, depth=depth)
  net = prediction.predictor(context, width, depth, ahead, skip)
  return prediction.predict_patches(encoder, net, ("down",), patch, parts=8)
