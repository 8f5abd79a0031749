import dataclasses
import json
import math
import re
import typing
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pytest

from sslx import options
from sslx.evaluation.recipe import Recipe
from sslx.options import setting
from sslx.training.config import Config
from sslx.types import UserError


def factory(
  data,
  *,
  level: float = 0.5,
  count: int = 3,
  name: str = "a",
  widths: tuple[int, ...] = (16, 32),
  deep: bool = False,
  kind: Literal["sigmoid", "linear"] = "sigmoid",
  limit: int | None = None,
  classes: int,
):
  return None


@pytest.mark.parametrize(
  ("text", "value"),
  [
    ("level=0.25", 0.25),
    ("level=1e-3", 1e-3),
    ("level=2", 2.0),
    ("count=-7", -7),
    ("name=x=y", "x=y"),
    ("name=", ""),
    ("widths=16-32-64", (16, 32, 64)),
    ("widths=8", (8,)),
    ("widths=", ()),
    ("deep=true", True),
    ("deep=False", False),
    ("deep=1", True),
    ("deep=0", False),
    ("kind=linear", "linear"),
    ("limit=none", None),
    ("limit=5", 5),
    ("classes=10", 10),
  ],
)
def test_parse(text, value):
  parsed = options.parse(factory, [text], "--hp")
  assert parsed == {text.split("=")[0]: value}
  assert type(next(iter(parsed.values()))) is type(value)  # 2.0 is no 2, True is no 1


def test_parse_several_and_none():
  assert options.parse(factory, [], "--hp") == {}
  assert options.parse(factory, ["count=1", "level=2"], "--hp") == {"count": 1, "level": 2.0}


@pytest.mark.parametrize(
  ("texts", "message"),
  [
    (["level"], "--hp=level: expected name=value"),
    (["levle=1"], "--hp=levle=1: factory has no option 'levle'. Did you mean 'level'?"),
    (["zzz=1"], "no option 'zzz'. Known: classes, count, deep, kind, level, limit, name, widths."),
    (["data=1"], "no option 'data'"),  # positional parameters are no options
    (["level=1", "count=2", "level=1"], "--hp=level=1: 'level' is given twice."),
    (["level=high"], "--hp=level=high: expected float, not 'high'."),
    (["count=1.5"], "--hp=count=1.5: expected integer, not '1.5'."),
    (["count="], "--hp=count=: expected integer, not ''."),
    (["widths=16,32"], "expected integers joined by -, such as 32-64-128, not '16,32'."),
    (["widths=16--32"], "not '16--32'."),
    (["deep=yes"], "expected true or false, not 'yes'."),
    (["kind=sigmod"], "--hp=kind=sigmod: unknown value. Did you mean 'sigmoid'? Known: linear, sigmoid."),
    (["limit=many"], "expected integer or none, not 'many'."),
    (["limit=None"], "expected integer or none, not 'None'."),
  ],
)
def test_refusals_are_one_line_and_name_the_flag(texts, message):
  with pytest.raises(UserError, match=re.escape(message)) as caught:
    options.parse(factory, texts, "--hp")
  assert str(caught.value).startswith("--hp=")
  assert "\n" not in str(caught.value)


def test_unsupported_annotation_is_the_programmers_error():
  def bad(*, table: dict[str, int] = {}):  # noqa: B006
    return None

  with pytest.raises(TypeError, match="not supported"):
    options.parse(bad, ["table=1"], "--hp")


def test_resolve():
  everything = {
    "level": 0.5,
    "count": 3,
    "name": "a",
    "widths": (16, 32),
    "deep": False,
    "kind": "sigmoid",
    "limit": None,
  }
  assert options.resolve(factory, {}) == everything
  assert options.resolve(factory, {"count": 0, "limit": 4, "classes": 2}) == {
    **everything,
    "count": 0,
    "limit": 4,
    "classes": 2,
  }


def test_describe_can_be_typed_back():
  lines = options.describe(factory).splitlines()
  assert [line.split("=")[0].strip() for line in lines] == list(options.parameters(factory))
  assert lines[0] == "  level=0.5  (float)"
  assert lines[3] == "  widths=16-32  (integers joined by -, such as 32-64-128)"
  assert lines[4] == "  deep=false  (true or false)"
  assert lines[5] == "  kind=sigmoid  (sigmoid | linear)"
  assert lines[6] == "  limit=none  (integer or none)"
  assert lines[7] == "  classes=(taken from the data)  (integer)"
  texts = [line.split("  ")[1] for line in lines[:-1]]
  assert options.parse(factory, texts, "--hp") == options.resolve(factory, {})
  assert options.describe(lambda x: x) == "  (none)"


def test_nearest():
  assert options.nearest("simlcr", ["simclr", "denoise"]) == " Did you mean 'simclr'? Known: denoise, simclr."
  assert options.nearest("qqq", {"b": 1, "a": 2}) == " Known: a, b."


# settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  name: str = setting("mnist", "Which one.")
  rate: float | None = setting(None, "How fast.", flag="learning_rate")
  hp: Mapping[str, str] = setting({}, "More; repeatable.", texts=True)
  kind: Literal["adamw", "sgd"] | None = setting(None, "Of optimiser.")
  schedule: Literal["cosine", "constant"] = setting("cosine", "Of the rate.", flag=None)
  shape: tuple[int, ...] = ()


def test_settings_are_the_fields_with_a_help_in_order():
  settings = options.settings(Settings)
  assert [s.name for s in settings] == ["name", "rate", "hp", "kind", "schedule"]  # a fact is no setting
  assert [s.flag for s in settings] == ["name", "learning_rate", "hp", "kind", None]
  assert [s.default for s in settings] == ["mnist", None, {}, None, "cosine"]
  assert [s.texts for s in settings] == [False, False, True, False, False]
  assert settings[1].annotation == float | None
  assert settings[0].help == "Which one."


def test_every_instance_has_its_own_dict():
  one, other = Settings(), Settings()
  assert one.hp is not other.hp
  assert one.hp == other.hp == {}
  assert options.settings(Settings)[2].default == {}


def test_choices_are_checked_by_flag_or_name():
  options.check_choices(Settings())  # None is what stands for the default
  options.check_choices(Settings(kind="sgd", schedule="constant"))
  with pytest.raises(UserError, match=r"^--kind=adam: unknown\. Did you mean 'adamw'\? Known: adamw, sgd\.$"):
    options.check_choices(Settings(kind="adam"))  # type: ignore
  with pytest.raises(
    UserError, match=r"^--schedule=linear: unknown\. Did you mean 'cosine'\? Known: constant, cosine\.$"
  ):
    options.check_choices(Settings(schedule="linear"))  # type: ignore


def test_values_from_python_are_checked_as_texts_are():
  values = options.check(factory, {"widths": [8, 4], "limit": None, "deep": True}, "--hp")
  assert values == {"widths": (8, 4), "limit": None, "deep": True}
  with pytest.raises(UserError, match=r"--hp=count=1\.5: expected integer"):
    options.check(factory, {"count": 1.5}, "--hp")


def test_a_union_takes_its_words_none_and_the_other_kind():
  def factory(*, widths: tuple[int, ...] | Literal["auto"] | None = "auto", level: float | None = None):
    raise AssertionError(widths, level)

  read = lambda text: options.parse(factory, [f"widths={text}"], "--hp")["widths"]  # noqa: E731
  assert [read(text) for text in ("auto", "none", "64-512", "7")] == ["auto", None, (64, 512), (7,)]
  for value in ("auto", None, (64, 512)):
    assert options.check(factory, {"widths": value}, "--hp") == {"widths": value}
  with pytest.raises(UserError, match="expected integers joined by -, such as 32-64-128 or auto or none, not 'wide'"):
    read("wide")
  assert "widths=auto" in options.describe(factory)


# numbers

NUMBERS = [
  -1,
  0,
  0.5,
  1,
  True,
  math.nan,
  math.inf,
  -math.inf,
  1e300,
  10**23,
  10**5000,
  "",
  "x",
  "9" * 5000,
  None,
  [],
  1j,
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
  epochs: float | None = setting(None, "Passes.", above=0)
  batch: int = setting(8, "Size.", flag="batch_size", above=0, high=100)
  decay: float = setting(0.5, "Decay.", low=0)
  rates: tuple[float, ...] = setting((1.0,), "Rates.", above=0)

  def __post_init__(self) -> None:
    options.check_numbers(self)


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"epochs": 0}, "--epochs=0: must be positive."),
    ({"epochs": math.nan}, "--epochs=nan: must be positive."),
    ({"epochs": math.inf}, "--epochs=inf: must be at most 1000000."),
    ({"epochs": 1e300}, "--epochs=1e+300: must be at most 1000000."),
    ({"batch": 101}, "--batch_size=101: must be at most 100."),
    ({"batch": 10**5000}, "--batch_size=(an integer of 16610 bits): must be at most 100."),
    ({"batch": 2.0}, "--batch_size=2: expected an integer."),
    ({"batch": True}, "--batch_size=True: expected an integer."),
    ({"batch": None}, "--batch_size=None: expected an integer."),
    ({"decay": -0.1}, "--decay=-0.1: must be at least 0."),
    ({"decay": "1"}, "--decay=1: expected a number."),
    ({"rates": (1.0, math.nan)}, "--rates=1,nan: expected positive numbers."),
    ({"rates": 1.0}, "--rates=1: expected several numbers."),
  ],
)
def test_a_number_that_is_none_or_out_of_its_range(given, message):
  with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
    Numbers(**given)


def test_numbers_of_numpy_are_pythons():
  made = Numbers(epochs=np.float32(0.5), batch=np.int64(3))
  assert json.dumps(dataclasses.asdict(made)) == '{"epochs": 0.5, "batch": 3, "decay": 0.5, "rates": [1.0]}'
  assert type(made.batch) is int


@pytest.mark.parametrize("kind", [Config, Recipe])
def test_whatever_number_is_given_the_configuration_is_sound_or_one_line_says_why_not(kind):
  """Every number of every setting, of those that are given alone."""
  tried, refusals = 0, {}
  for each in options.settings(kind):
    base = options.alternatives(each.annotation)[0]
    several = typing.get_origin(base) is tuple
    if base not in (int, float) and not several:
      continue
    for value in NUMBERS:
      tried += 1
      try:
        made = kind(**{each.name: [value] if several else value})
      except UserError as error:
        refusals[str(error)] = f"--{each.flag or each.name}="
        continue
      kept = getattr(made, each.name)
      assert kept is None or all(math.isfinite(k) for k in (kept if several else (kept,))), (each.name, value)
      assert kind.read(json.loads(json.dumps(made.to_json()))) == made
  assert tried > 100
  assert all(line.startswith(flag) and "\n" not in line for line, flag in refusals.items())


@pytest.mark.parametrize("text", ["level=nan", "level=inf", "level=1e300", "count=100000000", f"count={'9' * 5000}",
                                  f"level={'9' * 5000}", "widths=16-100000000", "limit=-10000000"])  # fmt: skip
def test_a_number_that_no_option_can_mean(text):
  with pytest.raises(UserError, match=r"^--hp=.*(must be a number between -1000000 and 1000000|expected integer)"):
    options.parse(factory, [text], "--hp")


def test_nothing_is_like_a_name_of_thousands_of_characters():
  assert options.close("simlcr", ["simclr", "denoise"]) == ["simclr"]
  assert options.close("simclr" * 1000, ["simclr" * 1001]) == []
