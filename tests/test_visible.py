"""sslx.types.visible: what others' names may not do on a terminal."""

import pytest

from sslx.types import visible


@pytest.mark.parametrize(
  ("text", "shown"),
  [
    ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
    ("a\rb\nc\td\x00\x7f", r"a\x0db\x0ac\x09d\x00\x7f"),
    ("\x9b31m\x85", r"\u009b31m\u0085"),  # of C1: \x9b alone would be a byte, and no character
    ("\u202egpj.exe\u202c \u2066x\u2069 \u200f\u061c", r"\u202egpj.exe\u202c \u2066x\u2069 \u200f\u061c"),
    ("one\u2028two\u2029", r"one\u2028two\u2029"),
    ("caf\udce9", r"caf\xe9"),  # a byte of a file's name that is no text
    ("\ud800", r"\ud800"),
    ("", ""),
    ("Ünïcode, 数字, ± ↑ [red] 😀 a\\b", "Ünïcode, 数字, ± ↑ [red] 😀 a\\b"),
  ],
)
def test_what_does_not_show_itself_is_an_escape(text, shown):
  assert visible(text) == shown
  assert visible(shown) == shown  # so that it does not matter through how many doors a text goes


def test_all_control_characters_are_escaped_and_no_other():
  plain = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x600)]))
  assert visible(plain) == plain
  for code in [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]:
    assert visible(chr(code)).isprintable(), hex(code)
    assert f"{code:x}" in visible(chr(code))
  assert visible(ValueError("a\x1bb")) == r"a\x1bb"
