"""Encoders, decoders and heads."""

from sslx.nn.core import apply, init
from sslx.nn.decoders import ConvDecoder, DictionaryDecoder, MlpDecoder, TiedDecoder
from sslx.nn.encoders import ENCODERS, Encoder, build, encode
from sslx.nn.features import read
from sslx.nn.heads import ConvHead, Linear, Projector

__all__ = [
  "ENCODERS",
  "ConvDecoder",
  "ConvHead",
  "DictionaryDecoder",
  "Encoder",
  "Linear",
  "MlpDecoder",
  "Projector",
  "TiedDecoder",
  "apply",
  "build",
  "encode",
  "init",
  "read",
]
