"""Pictures as cameras, drawing programs and attackers leave them: transparent, lying on their side, huge, disguised."""

import functools
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from sslx import data
from sslx.data import images
from sslx.data.images import WHITE, colour, decode, header, to_array
from sslx.data.lazy import LazyArray
from sslx.types import UserError

RNG = np.random.default_rng(0)
ALPHA = np.array([[0, 255], [128, 255]], np.uint8)
RED = (255, 0, 0)


def packed(image, kind="PNG", **how):
  file = io.BytesIO()
  image.save(file, kind, **how)
  return file.getvalue()


def chunk(kind, content):
  return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, bits, colour_type, pixels, *chunks):
  """What Pillow does not write: any size, bits and tRNS."""
  start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
  return start + b"".join(chunks) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def shapes(mode):
  """A black picture whose shape is in its alpha channel alone."""
  black = Image.fromarray(np.zeros((2, 2), np.uint8))
  alpha = Image.fromarray(ALPHA)
  return Image.merge(mode, [black] * (len(mode) - 1) + [alpha])


# ---- transparency


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_in_the_alpha_channel_are_seen_over_white(kind, mode, channels):
  content = packed(shapes(mode), kind, lossless=True, exact=True) if kind == "WEBP" else packed(shapes(mode), kind)
  np.testing.assert_array_equal(decode(content, channels, name="x"), np.stack([255 - ALPHA] * channels, axis=-1))
  np.testing.assert_array_equal(to_array(shapes(mode), channels), decode(content, channels, name="x"))


def test_the_background_is_chosen():
  over_red = decode(packed(shapes("RGBA")), 3, name="x", background=RED)
  np.testing.assert_array_equal(over_red[0, 0], RED)
  np.testing.assert_array_equal(over_red[1], [[127, 0, 0], [0, 0, 0]])
  opaque = RNG.integers(0, 256, (9, 7, 4)).astype(np.uint8)
  opaque[..., 3] = 255
  np.testing.assert_array_equal(to_array(Image.fromarray(opaque), 3, background=RED), opaque[..., :3])


def palette_picture(**how):
  image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode=None).convert("P")
  image.putdata([0, 1, 2, 1])
  image.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60])
  return packed(image, **how)


BLACK_AND_TWO = [[[255] * 3, [10, 20, 30]], [[40, 50, 60], [10, 20, 30]]]
TRNS = {
  "palette, one entry": (lambda: palette_picture(transparency=0), BLACK_AND_TWO),
  "palette, alpha of each": (lambda: palette_picture(transparency=bytes([0, 255, 255])), BLACK_AND_TWO),
  "gif": (lambda: palette_picture(kind="GIF", transparency=0), BLACK_AND_TWO),
  "grey": (lambda: png(2, 1, 8, 0, b"\0\0\7", chunk(b"tRNS", b"\0\0")), [[[255] * 3, [7] * 3]]),
  "grey of 2 bits": (
    lambda: png(4, 1, 2, 0, b"\0\x1b", chunk(b"tRNS", b"\0\2")),
    [[[value] * 3 for value in (0, 85, 255, 255)]],
  ),
  "black and white": (lambda: png(2, 1, 1, 0, b"\0\x40", chunk(b"tRNS", b"\0\0")), [[[255] * 3, [255] * 3]]),
  "grey of 16 bits": (
    lambda: png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 900, 901 << 4), chunk(b"tRNS", struct.pack(">H", 900))),
    [[[255] * 3, [901 >> 4] * 3]],
  ),
  "colour": (lambda: png(2, 1, 8, 2, b"\0" + bytes([1, 2, 3, 4, 5, 6]), chunk(b"tRNS", b"\0\1\0\2\0\3")),
             [[[255] * 3, [4, 5, 6]]]),
  "colour of 16 bits": (
    lambda: png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 900, 2000, 3000, 4 << 8, 5 << 8, 6 << 8),
                chunk(b"tRNS", struct.pack(">3H", 900, 2000, 3000))),
    [[[255] * 3, [4, 5, 6]]],
  ),
}  # fmt: skip


@pytest.mark.parametrize("what", TRNS)
def test_a_value_that_means_transparent_is_composited(what):
  make, expected = TRNS[what]
  np.testing.assert_array_equal(decode(make(), 3, name="x"), expected)


def test_grey_over_a_coloured_background_is_coloured(tmp_path):
  path = str(tmp_path / "a.png")
  for mode in ("LA", "RGBA"):
    shapes(mode).save(path)
    assert header(path).grey == (mode == "LA")
    assert not header(path, RED).grey
    assert header(path, (7, 7, 7)).grey == (mode == "LA")
  Image.fromarray(ALPHA).save(path)
  assert header(path, RED).grey  # nothing shines through it
  for part in ("train", "test"):
    for name in ("a", "b"):
      (tmp_path / part / name).mkdir(parents=True)
      shapes("LA").save(tmp_path / part / name / "0.png")
  assert data.load(f"folder:{tmp_path}").x_shape == (2, 2, 1)
  red = data.load(f"folder:{tmp_path}", background="#ff0000")
  assert red.train.x[1, 0].tolist() == [[255, 0, 0], [0, 0, 0]]


def test_colours_are_pillows():
  assert colour("white") == WHITE
  assert colour("#0a141e") == (10, 20, 30)
  for name in ("whit", "", "#12345", "#ff000080"):
    with pytest.raises(UserError, match=f"^--background={name}: no such opaque colour; give .*white") as error:
      data.load("mnist", background=name)
    assert "\n" not in str(error.value)


# ---- orientation


UPRIGHT = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
# How the camera held the picture: what is stored, made of the upright one, as EXIF 2.32 defines the eight values.
STORED = {
  1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1], 5: UPRIGHT.swapaxes(0, 1),
  6: np.rot90(UPRIGHT), 7: UPRIGHT[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(UPRIGHT, -1),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_is_set_upright(tmp_path, kind, orientation):
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = orientation
  stored, upright = STORED[orientation], UPRIGHT
  if kind == "JPEG":  # large flat squares, which it keeps nearly
    stored, upright = (np.kron(x, np.ones((16, 16, 1), np.uint8)) for x in (stored, upright))
  path = str(tmp_path / "a.img")
  how = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
  Image.fromarray(np.ascontiguousarray(stored)).save(path, kind, exif=exif, **how)
  assert header(path)[:2] == upright.shape[:2]
  np.testing.assert_allclose(decode(path, 3), upright, atol=4 if kind == "JPEG" else 0)
  np.testing.assert_allclose(decode(path, 3, 1), to_array(Image.fromarray(upright), 3, 1), atol=4)


def test_sizes_in_messages_are_of_the_upright_picture(tmp_path):
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = 6
  for part in ("train", "test"):
    for name in ("a", "b"):
      (tmp_path / part / name).mkdir(parents=True)
      Image.new("L", (5, 4)).save(tmp_path / part / name / "0.png", exif=exif)
  assert data.load(f"folder:{tmp_path}").x_shape == (5, 4, 1)
  Image.new("L", (5, 4)).save(tmp_path / "test" / "b" / "0.png")
  with pytest.raises(UserError, match=r"a.0\.png is 5x4 but .*b.0\.png is 4x5"):
    data.load(f"folder:{tmp_path}")


def test_damaged_exif_data_leave_the_picture_as_it_is():
  for exif in (b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"):
    content = packed(Image.fromarray(UPRIGHT), exif=exif)
    np.testing.assert_array_equal(decode(content, 3, name="x"), UPRIGHT)


# ---- sixteen bits


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_bits_rescale_what_a_file_of_sixteen_really_holds(bits):
  values = np.array([[0, 1 << bits - 1, (1 << bits) - 1]], np.uint16)
  for kind in ("PNG", "TIFF"):
    content = packed(Image.fromarray(values), kind)
    assert decode(content, 1, name="x", bits=bits)[0, :, 0].tolist() == [0, 128, 255]
  if bits < 16:
    with pytest.raises(UserError, match=rf"^x: .*{values.max() * 2}.*--bits={bits}; give --bits={bits + 1}$"):
      decode(packed(Image.fromarray(values * 2)), 1, name="x", bits=bits)


@pytest.mark.parametrize("bits", [7, 17])
def test_impossible_bits(bits):
  with pytest.raises(UserError, match=f"--bits={bits}: must be between 8 and 16"):
    data.load("mnist", bits=bits)


# ---- sizes that a header claims


def claims(path, width, height):
  path.write_bytes(png(width, height, 8, 0, b""))
  return str(path)


def refuse(*args, **kwargs):
  raise AssertionError("memory was asked for")


@pytest.mark.parametrize("read", [header, functools.partial(decode, channels=3)])
def test_what_a_header_claims_is_bounded_before_anything_is_decoded(tmp_path, monkeypatch, read):
  monkeypatch.setattr(Image.Image, "load", refuse)
  line = claims(tmp_path / "line.png", 80_000_000, 1)
  with pytest.raises(UserError, match=r"line\.png: 1x80000000 \(height x width\) needs 245,760,000,000 bytes.* "
                                      r"--image_size=32, above --in_memory_limit=2147483648"):  # fmt: skip
    read(line, image_size=32)
  with images.without_size_warnings(), pytest.raises(UserError, match=r"big\.png: 9000x10000 .* too large"):
    read(claims(tmp_path / "big.png", 10_000, 9000))
  with pytest.raises(UserError, match=r"big\.png: too large"):  # warnings are errors here
    read(str(tmp_path / "big.png"))
  with pytest.raises(UserError, match=r"huge\.png: too large \(Image size \(400000000"):
    read(claims(tmp_path / "huge.png", 20_000, 20_000))


def test_as_many_large_images_as_memory_is_meant_for(tmp_path):
  paths = [tmp_path / part / name / "0.png" for part in ("train", "test") for name in ("a", "b")]
  for path in paths:
    path.parent.mkdir(parents=True)
    claims(path, 80_000_000, 1)
  for i in range(1, 20):
    os.link(paths[0], paths[0].with_name(f"{i}.png"))
  dataset = data.load(f"folder:{tmp_path}", in_memory_limit=100_000_000)
  assert isinstance(dataset.train.x, LazyArray)
  with pytest.raises(UserError, match=r"a.0\.png: 21 images of its size, 1x80000000 .*--in_memory_limit=100000000"):
    dataset.train.x[np.arange(21)]


def test_a_large_image_is_an_error_line_not_a_warning(tmp_path, recwarn):
  for part in ("train", "test"):
    for name in ("a", "b"):
      (tmp_path / part / name).mkdir(parents=True)
      claims(tmp_path / part / name / "0.png", 10_000, 9000)
  with pytest.raises(UserError, match=r"a.0\.png: 9000x10000 .* too large, above 89,478,485 pixels"):
    data.load(f"folder:{tmp_path}", image_size=8)
  assert not list(recwarn)


# ---- what is opened at all


def test_content_of_another_kind_is_not_opened(tmp_path, monkeypatch):
  from PIL import EpsImagePlugin

  monkeypatch.setattr(EpsImagePlugin, "Ghostscript", refuse)
  path = tmp_path / "bad.png"
  kinds = {"EPS": packed(Image.new("RGB", (4, 4)), "EPS"), "PPM": packed(Image.new("RGB", (4, 4)), "PPM")}
  for content in (*kinds.values(), b"hello"):
    path.write_bytes(content)
    for read in (header, functools.partial(decode, channels=3), images.brightest):
      with pytest.raises(UserError, match=r"bad\.png: .*cannot identify it as PNG, JPEG, WEBP, BMP, TIFF or GIF"):
        read(str(path))


def test_a_pipe_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "a.png")
  with pytest.raises(UserError, match=r"a\.png: not a file"):
    header(str(tmp_path / "a.png"))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, beside its errors
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_damage_of_any_kind_is_one_line(tmp_path, kind):
  rng = np.random.default_rng(1)
  picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))
  how = {"save_all": True, "append_images": [picture.rotate(90)]} if kind == "GIF" else {}
  whole, path, lines = packed(picture, kind, **how), tmp_path / "a.img", []
  with images.without_size_warnings():
    for stop in rng.integers(1, len(whole) // 2, 20):
      path.write_bytes(whole[:stop])
      for read in (header, functools.partial(decode, channels=3)):
        try:
          read(str(path))
        except UserError as error:
          lines.append(str(error))
  assert len(lines) >= 20
  assert all(line.startswith(f"{path}: ") and "\n" not in line for line in lines)
