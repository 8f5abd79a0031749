"""The table of methods: names, data that is refused, documentation, and hyper-parameters that are their own source."""

import inspect
import re
import types
import typing

import pytest

from sslx import options
from sslx.modalities import MODALITIES
from sslx.pretext import METHODS, check
from sslx.types import UserError

each_method = pytest.mark.parametrize("method", METHODS)


def test_check_names_the_nearest():
  with pytest.raises(UserError, match=r"--method=simlcr: no such method\. Did you mean 'simclr'"):
    check("simlcr")
  assert check("denoise") is METHODS["denoise"]


def test_data_of_another_modality_is_refused_in_one_line(monkeypatch):
  smells = MODALITIES["image"]._replace(name="smell")
  error = METHODS["jigsaw"].refuses("jigsaw", smells)
  assert isinstance(error, UserError)
  said = "--method=jigsaw: takes image or video data, and this data set is smell. Methods that take it: "
  assert str(error) == said + "none yet."
  both = METHODS["jigsaw"]._replace(modalities=("image", "video"))
  assert "--method=x: takes image or video data, and this data set is smell." in str(both.refuses("x", smells))
  monkeypatch.setitem(METHODS, "denoise", METHODS["denoise"]._replace(modalities=("image", "smell")))
  assert str(METHODS["jigsaw"].refuses("jigsaw", smells)) == said + "denoise."
  error = METHODS["apc"].refuses("apc", MODALITIES["image"])
  assert str(error).startswith("--method=apc: takes sound data, and this data set is image. Methods that take it: auto")
  assert "apc" not in str(error).partition("take it")[2]


def test_every_method_names_modalities_that_exist():
  for name, method in METHODS.items():
    assert method.modalities, name
    assert set(method.modalities) <= set(MODALITIES), name


@each_method
def test_documented(method):
  factory = METHODS[method].factory
  assert factory.__doc__
  doc = inspect.getmodule(factory).__doc__
  assert doc
  if "sg(" in doc:
    assert METHODS[method].stops_gradients
  if not METHODS[method].labels:  # the supervised baseline is nobody's paper
    assert re.search(r"[A-Z]\w+.*\b(19|20)\d\d\b", doc, re.DOTALL), "cite authors and year"
  assert re.search(r"^ +L\w* = ", doc, re.MULTILINE), "give the equation"


@each_method
def test_hyper_parameters(method):
  factory = METHODS[method].factory
  for name, p in options.parameters(factory).items():
    assert p.annotation is not p.empty, name
    assert p.default is not p.empty, f"{name} needs a default"
    assert has_type(p.default, p.annotation), f"{name}={p.default!r} is not {p.annotation}"
  texts = [line.split("  ")[1] for line in options.describe(factory).splitlines()]
  defaults = {n: p.default for n, p in options.parameters(factory).items()}
  parsed = options.parse(factory, [t for t in texts if t != "(none)"], "--hp")
  assert parsed == defaults
  assert {n: type(v) for n, v in parsed.items()} == {n: type(v) for n, v in defaults.items()}


def has_type(value, annotation) -> bool:
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is typing.Literal:
    return value in arguments
  if origin is tuple:
    return isinstance(value, tuple) and all(type(v) is int for v in value)
  if origin in (types.UnionType, typing.Union):
    return any(has_type(value, a) for a in arguments)
  return type(value) is annotation


@each_method
def test_unknown_hyper_parameter_names_the_nearest(method):
  with pytest.raises(UserError, match="has no option"):
    options.parse(METHODS[method].factory, ["no_such_thing=1"], "--hp")
