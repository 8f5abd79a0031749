"""METHODS: every pretext method by name. A new method is one file here and one line in this table."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sslx import nn, options
from sslx.ops.text import NO_WORDS, Vocabulary
from sslx.pretext.apc import apc
from sslx.pretext.autoencode import autoencode
from sslx.pretext.barlow_twins import barlow_twins
from sslx.pretext.byol import byol
from sslx.pretext.cbow import cbow
from sslx.pretext.colorize import colorize
from sslx.pretext.context_encoder import context_encoder
from sslx.pretext.context_prediction import context_prediction
from sslx.pretext.contractive import contractive
from sslx.pretext.conv_wta import conv_wta
from sslx.pretext.cpc import cpc
from sslx.pretext.cpc_audio import cpc_audio
from sslx.pretext.cpc_v2 import cpc_v2
from sslx.pretext.deep_infomax import deep_infomax
from sslx.pretext.denoise import denoise
from sslx.pretext.dino import dino
from sslx.pretext.families.clips import by_frames
from sslx.pretext.families.front import behind
from sslx.pretext.inpaint import inpaint
from sslx.pretext.jigsaw import jigsaw
from sslx.pretext.mae import mae
from sslx.pretext.masked_words import masked_words
from sslx.pretext.moco import moco
from sslx.pretext.rotation import rotation
from sslx.pretext.simclr import simclr
from sslx.pretext.simsiam import simsiam
from sslx.pretext.skipgram import skipgram
from sslx.pretext.sparse import sparse
from sslx.pretext.split_brain import split_brain
from sslx.pretext.stacked_denoise import stacked_denoise
from sslx.pretext.super_resolution import super_resolution
from sslx.pretext.supervised import supervised
from sslx.pretext.swav import swav
from sslx.pretext.temporal_colour import temporal_colour
from sslx.pretext.vader import vader
from sslx.pretext.vae import vae
from sslx.pretext.vicreg import vicreg
from sslx.pretext.wta import wta
from sslx.types import Modality, Optimizer, Pretext, Refusal, Task, UserError, brief

BAG_ENCODER = "bag+mlp:widths=512,code=0"
SEEN = ("image", "video")
BOTH = (*SEEN, "sound")
ALL = (*BOTH, "text")


class Method(NamedTuple):
  """A factory (encoder, *, hyper-parameters) -> Pretext, and the training it wants by default.

  Of sound and text, methods of images get the encoder's body, and spectrograms or bags of words to learn from; of
  video, frames. Those with `views` get the whole encoder of sound, since it is the waveform that views change, and so
  do methods that take no images.
  """

  factory: Callable[..., Pretext]
  steps: int = 920
  """Not epochs, so that a small set gets as many as a large one: two epochs of MNIST are 1,842 steps of 64, of 7,000
  images 218, which taught an encoder less than random weights know."""
  batch_size: int = 256
  learning_rate: float = 1e-3
  encoder: str = "conv"
  optimizer: Optimizer = "adamw"
  """The learning rate above is for this one."""
  modalities: tuple[str, ...] = SEEN
  """What it takes."""
  labels: bool = False
  """Whether it reads targets. Its factory is then (encoder, task, features, *, hyper-parameters)."""
  words: bool = False
  """Whether it needs the words of its data. Its factory is then (encoder, vocabulary, *, hyper-parameters)."""
  stream: bool = False
  """Whether rows of text are as well one after another as each for itself, so that short ones are laid end to end."""
  stops_gradients: bool = False
  """Whether its loss holds parts of itself constant, so that it is not what its gradient is of: finite differences then
  say nothing, and its own tests check where gradients stop."""

  bags: Mapping[str, Any] | None = None
  """Of a method of images that takes text: hyper-parameters that have another default for bags of words."""
  bag_encoder: str = BAG_ENCODER
  """And the encoder that it wants for them."""
  compares: bool = False
  """Whether its loss holds the examples of a batch against each other: of one alone there is nothing to learn."""

  __repr__ = brief

  def encoder_for(self, modality: str) -> str:
    """The encoder that it wants for data of a modality: of text, those of images get dense layers on bags of words; of
    video, a code for each place of a grid.
    """
    if modality == "video" and self.encoder == "conv":
      return "grid"
    return self.bag_encoder if modality == "text" and self.bags is not None else self.encoder

  def settings_for(self, modality: str) -> Mapping[str, Any]:
    """Hyper-parameters that have another default for data of a modality."""
    return (self.bags or {}) if modality == "text" else {}

  def refuses(self, name: str, modality: Modality) -> Refusal:
    """That it does not take such data, and which methods do."""
    others = ", ".join(other for other, method in METHODS.items() if modality.name in method.modalities)
    return Refusal(
      f"--method={name}: takes {' or '.join(self.modalities)} data, and this data set is {modality.name}. Methods that "
      f"take it: {others or 'none yet'}."
    )


SHARES = {"output": "softmax", "loss": "multinomial"}  # of what an autoencoder makes: most values of a bag are 0
METHODS: dict[str, Method] = {
  "apc": Method(apc, steps=8_000, batch_size=32, learning_rate=2e-3, encoder="mel+gru", modalities=("sound",)),
  "autoencode": Method(autoencode, modalities=ALL, bags=SHARES),
  "barlow_twins": Method(barlow_twins, steps=1_380, learning_rate=2e-3, compares=True, modalities=BOTH),
  "byol": Method(byol, steps=1_380, learning_rate=2e-3, compares=True, modalities=BOTH),
  "cbow": Method(
    cbow,
    steps=7_500,
    batch_size=8,
    learning_rate=0.1,
    encoder="words",
    optimizer="descent",
    modalities=("text",),
    words=True,
    stream=True,
  ),
  "colorize": Method(colorize, steps=1_842, batch_size=64, learning_rate=2e-3),
  "context_encoder": Method(context_encoder, steps=1_842, batch_size=64, learning_rate=3e-3, stops_gradients=True),
  "context_prediction": Method(context_prediction, steps=1_842, batch_size=64, learning_rate=3e-3),
  "contractive": Method(
    contractive, steps=4_600, learning_rate=3e-3, encoder="mlp:widths=1000,code=0,activation=sigmoid"
  ),
  "conv_wta": Method(
    conv_wta,
    steps=1_180,
    batch_size=100,
    learning_rate=3e-3,
    encoder="conv:widths=32-64,kernel=5,down=none",
    compares=True,
    modalities=BOTH,
  ),
  "cpc": Method(cpc, steps=3_686, batch_size=32, learning_rate=2e-3, encoder="conv:norm=layer"),
  "cpc_audio": Method(
    cpc_audio,
    steps=800,
    batch_size=32,
    learning_rate=2e-3,
    encoder="mel+gru:width=256,context=256",
    compares=True,
    modalities=("sound",),
  ),
  "cpc_v2": Method(cpc_v2, steps=3_686, batch_size=32, learning_rate=2e-3, encoder="conv:norm=layer"),
  "deep_infomax": Method(
    deep_infomax, steps=920, batch_size=128, learning_rate=2e-3, stops_gradients=True, compares=True
  ),
  "denoise": Method(
    denoise, steps=1_842, batch_size=64, learning_rate=3e-3, modalities=ALL, bags={"noise": "masking", **SHARES}
  ),
  "dino": Method(dino, steps=1_380, learning_rate=2e-3, compares=True, modalities=BOTH),
  "inpaint": Method(inpaint, steps=1_842, batch_size=64, learning_rate=3e-3, modalities=BOTH),
  "jigsaw": Method(jigsaw, steps=1_842, batch_size=64, learning_rate=3e-3),
  "mae": Method(mae, steps=3_684, batch_size=64, learning_rate=2e-3, encoder="vit", modalities=BOTH),
  "masked_words": Method(
    masked_words,
    steps=2_000,
    batch_size=8,
    learning_rate=3e-3,
    encoder="transformer",
    modalities=("text",),
    words=True,
    stream=True,
  ),
  "moco": Method(moco, steps=1_380, learning_rate=2e-3, compares=True, modalities=BOTH),
  "rotation": Method(rotation, steps=1_842, batch_size=64),
  "simclr": Method(simclr, steps=1_380, learning_rate=2e-3, compares=True, modalities=BOTH),
  "simsiam": Method(simsiam, steps=1_380, learning_rate=2e-3, stops_gradients=True, compares=True, modalities=BOTH),
  "skipgram": Method(
    skipgram,
    steps=30_000,
    batch_size=2,
    learning_rate=0.05,
    encoder="words",
    optimizer="descent",
    modalities=("text",),
    words=True,
    stream=True,
  ),
  "sparse": Method(
    sparse, steps=4_600, learning_rate=3e-3, encoder="mlp:widths=196,code=0,activation=sigmoid", modalities=BOTH
  ),
  "split_brain": Method(split_brain, steps=1_842, batch_size=64, learning_rate=2e-3, encoder="split"),
  "stacked_denoise": Method(stacked_denoise, steps=1_842, batch_size=64, learning_rate=3e-3),
  "super_resolution": Method(super_resolution, steps=1_842, batch_size=64, learning_rate=3e-3),
  "supervised": Method(supervised, labels=True, modalities=("image", "sound", "text"), bags={}),
  "swav": Method(swav, steps=1_380, learning_rate=2e-3, stops_gradients=True, compares=True, modalities=BOTH),
  "temporal_colour": Method(
    temporal_colour, steps=6_000, batch_size=16, learning_rate=8e-3, encoder="grid", modalities=("video",)
  ),
  "vader": Method(vader, steps=3_686, batch_size=32, learning_rate=2e-3, compares=True),
  "vae": Method(vae, learning_rate=3e-3, encoder="conv:code=32", modalities=BOTH),
  "vicreg": Method(vicreg, steps=1_380, learning_rate=2e-3, compares=True, modalities=BOTH),
  "wta": Method(
    wta,
    steps=4_720,
    batch_size=100,
    learning_rate=3e-3,
    encoder="mlp:widths=2000,code=0",
    compares=True,
    modalities=ALL,
    bags=SHARES,
    bag_encoder="bag+mlp:widths=1000,code=0",
  ),
}


def check(name: str) -> Method:
  """The method called `name`. Raises UserError with the nearest names."""
  if name not in METHODS:
    raise UserError(f"--method={name}: no such method.{options.nearest(name, METHODS)}")
  return METHODS[name]


def taking(name: str, modality: Modality) -> Method:
  """The method called `name`, for data of a modality. Raises UserError, or Refusal where it does not take such data."""
  method = check(name)
  if modality.name not in method.modalities:
    raise method.refuses(name, modality)
  return method


def build(
  name: str,
  encoder: nn.Encoder,
  hp: Mapping[str, Any],
  task: Task,
  features: str = "flatten",
  vocabulary: Vocabulary | None = None,
) -> Pretext:
  """METHODS[name] with the hyper-parameters `hp`. task, features: for a method that reads targets. vocabulary: for one
  that reads words.
  """
  method = check(name)
  if method.words:
    return method.factory(encoder, vocabulary or NO_WORDS, **hp)
  if method.labels:
    return method.factory(encoder, task, features, **hp)
  whole = "image" not in method.modalities or "views" in options.parameters(method.factory)
  if encoder.ids and not encoder.front and not whole:
    raise Refusal(f"--method={name}: of text it needs bags of words, such as --encoder=bag+mlp.")
  if encoder.clips and "image" in method.modalities:
    return by_frames(method.factory(encoder.body, **hp))
  if whole or not encoder.front:
    return method.factory(encoder, **hp)
  return behind(encoder, method.factory(encoder.body, **hp))
