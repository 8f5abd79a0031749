"""Encoders, decoders and heads."""

from sslx.nn.causal import ConvContext, GruContext, RowPredictor
from sslx.nn.context import ContextDecoder, Discriminator
from sslx.nn.core import apply, init
from sslx.nn.decoders import ConvDecoder, DictionaryDecoder, MlpDecoder, PixelDecoder, TiedDecoder
from sslx.nn.encoders import ENCODERS, PRECISIONS, Encoder, build, encode
from sslx.nn.features import read
from sslx.nn.heads import ConvHead, Linear, Projector, Shortcut
from sslx.nn.vit import MaskedDecoder

__all__ = [
  "ENCODERS",
  "PRECISIONS",
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
  "Projector",
  "RowPredictor",
  "Shortcut",
  "TiedDecoder",
  "apply",
  "build",
  "encode",
  "init",
  "read",
]
