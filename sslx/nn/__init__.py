"""Encoders, decoders and heads."""

from sslx.nn.core import apply, init
from sslx.nn.decoders import ConvDecoder, MlpDecoder
from sslx.nn.encoders import ENCODERS, Encoder, build, encode
from sslx.nn.features import read
from sslx.nn.heads import ConvHead, Linear, Projector

__all__ = [
  "ENCODERS",
  "ConvDecoder",
  "ConvHead",
  "Encoder",
  "Linear",
  "MlpDecoder",
  "Projector",
  "apply",
  "build",
  "encode",
  "init",
  "read",
]
