"""Encoders, decoders and heads."""

from sslx.nn.causal import ConvContext, GruContext, RowPredictor
from sslx.nn.context import ContextDecoder, Discriminator
from sslx.nn.core import apply, init
from sslx.nn.decoders import ConvDecoder, DictionaryDecoder, MlpDecoder, PixelDecoder, TiedDecoder
from sslx.nn.encoder import Encoder
from sslx.nn.encoders import ENCODERS, FRONTS, MAX_PARAMETERS, build, check_count, check_input, check_size, suited
from sslx.nn.features import check_reading, read
from sslx.nn.fixed import PLACES, RAW, WORDS, along, heard, rebuild, weighed
from sslx.nn.heads import ConvHead, Linear, PixelHead, PlaceHead, Projector, Shortcut
from sslx.nn.layers import only_layer
from sslx.nn.representation import Representation
from sslx.nn.vit import MaskedDecoder

__all__ = [
  "ENCODERS",
  "FRONTS",
  "MAX_PARAMETERS",
  "PLACES",
  "RAW",
  "WORDS",
  "ContextDecoder",
  "ConvContext",
  "ConvDecoder",
  "ConvHead",
  "DictionaryDecoder",
  "Discriminator",
  "Encoder",
  "GruContext",
  "Linear",
  "MaskedDecoder",
  "MlpDecoder",
  "PixelDecoder",
  "PixelHead",
  "PlaceHead",
  "Projector",
  "Representation",
  "RowPredictor",
  "Shortcut",
  "TiedDecoder",
  "along",
  "apply",
  "build",
  "check_count",
  "check_input",
  "check_reading",
  "check_size",
  "heard",
  "init",
  "only_layer",
  "read",
  "rebuild",
  "suited",
  "weighed",
]
