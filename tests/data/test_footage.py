"""Video files: frames by number against decoding from the start, whatever the file, and files that do not decode."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from sslx import data
from sslx.data import footage
from sslx.data.lazy import LazyArray
from sslx.types import UserError

COUNT, HEIGHT, WIDTH = 90, 32, 48
OPEN_GROUPS = {"x264-params": "open-gop=1:bframes=3:keyint=20:scenecut=0"}
KINDS = [
  ("mp4", "libx264", {}),
  ("mp4", "libx264", OPEN_GROUPS),
  ("mkv", "libx264", OPEN_GROUPS),
  ("avi", "libx264", {}),  # such a file does not say when its frames are shown
  ("avi", "mpeg4", {}),
  ("mov", "mpeg4", {}),
  ("webm", "libvpx-vp9", {}),
]


def write(path: Path, codec: str = "libx264", count: int = COUNT, sizes=((HEIGHT, WIDTH),), **options: str) -> str:
  """A texture that moves upwards by a pixel a frame."""
  av = pytest.importorskip("av")
  if codec not in av.codecs_available:
    pytest.skip(f"PyAV was built without {codec}")
  texture = np.kron(np.random.default_rng(0).integers(0, 256, (40, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
  with av.open(str(path), "w") as container:
    (height, width), *_ = sizes
    stream = container.add_stream(codec, rate=25, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.gop_size = 20
    for t in range(count):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(texture[t : t + height, :width]), format="rgb24")
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return str(path)


def decoded(path: str) -> np.ndarray:
  """u8 [T,H,W,3], from the first frame to the last."""
  av = pytest.importorskip("av")
  with av.open(path) as container:
    return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def refused(spec: str, message: str, **how) -> None:
  with pytest.raises(UserError, match=message) as error:
    data.load(spec, **how)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("ending", "codec", "options"), KINDS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_frames_by_number_are_those_of_decoding_from_the_start(tmp_path, ending, codec, options):
  path = write(tmp_path / f"a.{ending}", codec, **options)
  frames = decoded(path)
  assert len(frames) == COUNT
  for limit in (1 << 30, 1000):
    dataset = data.load(f"video:{path}", frames=6, in_memory_limit=limit)
    starts = [*range(0, COUNT - 5, 3)]
    assert isinstance(dataset.train.x, LazyArray if limit == 1000 else np.ndarray)
    assert dataset.train.x.shape == (len(starts), 6, HEIGHT, WIDTH, 3)
    for row in (0, 7, len(starts) - 1):
      np.testing.assert_array_equal(dataset.train.x[row], frames[starts[row] : starts[row] + 6])
    rows = np.random.default_rng(0).permutation(len(starts))[:9]
    expected = np.stack([frames[starts[row] : starts[row] + 6] for row in rows])
    np.testing.assert_array_equal(dataset.train.x[rows], expected)


def test_a_file_is_entered_before_the_frames_that_are_asked_for(tmp_path):
  """Of 90 frames, at most a group of 20 and those that are reordered are decoded before the first."""
  path = write(tmp_path / "a.mp4")
  index = footage._index(path, "video:a")
  numbers = [number for number, _ in footage._numbered(path, index, 75)]
  assert numbers == list(range(60, COUNT))


def test_a_file_that_is_entered_too_late_is_read_from_its_start(tmp_path, monkeypatch):
  path = write(tmp_path / "a.mp4")
  index = footage._index(path, "video:a")
  times = {time + 50 * 512: number for time, number in index.numbers.items()}  # it is sought where later frames are
  shifted = index._replace(numbers=dict(zip(times, range(COUNT), strict=True)))
  assert [number for number, _ in footage._numbered(path, shifted, 10)] == list(range(COUNT))


def test_several_files_and_folders_are_one_set(tmp_path, capsys):
  paths = [write(tmp_path / name, count=count) for name, count in (("b.mp4", 8), ("a.MOV", 7))]
  dataset = data.load(f"video:{tmp_path}", frames=6)
  frames = [decoded(path) for path in paths[::-1]]
  np.testing.assert_array_equal(dataset.train.x, [frames[0][:6], frames[0][1:], frames[1][:6], frames[1][2:]])
  assert not dataset.videos
  assert not capsys.readouterr().err


def test_what_a_telephone_turns_is_upright(tmp_path):
  """A quarter clockwise, by the matrix in the track's header."""
  path = write(tmp_path / "a.mp4", count=8)
  content = bytearray(Path(path).read_bytes())
  matrix = content.find(b"tkhd") + 44
  assert struct.unpack(">9i", content[matrix : matrix + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
  content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, HEIGHT << 16, 0, 1 << 30)
  turned = tmp_path / "turned.mp4"
  turned.write_bytes(content)
  dataset = data.load(f"video:{turned}", frames=8)
  np.testing.assert_array_equal(dataset.train.x[0], np.rot90(decoded(path), -1, (1, 2)))
  assert data.load(f"video:{turned}", frames=8, size=24).x_shape == (8, 40, 24, 3)


def test_files_that_do_not_decode(tmp_path, capsys):
  path = Path(write(tmp_path / "good.mp4"))
  content = path.read_bytes()
  for name, kept in (("cut", content[: len(content) // 2]), ("text", b"no video" * 99)):
    wrong = tmp_path / f"{name}.mp4"
    wrong.write_bytes(kept)
    refused(f"video:{wrong}", rf"^\S*{name}\.mp4: does not decode \(.+\); repair or delete it$")
  (tmp_path / "empty.mp4").write_bytes(b"")
  refused(f"video:{tmp_path / 'empty.mp4'}", r"empty\.mp4: empty file; delete it or put a video there$")
  single = write(tmp_path / "single.mp4", count=1)
  refused(f"video:{single}", r"single\.mp4: holds 1 frames that decode, and a video has two at least; .*")
  dataset = data.load(f"video:{path}", in_memory_limit=1000)
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(UserError, match=r"good\.mp4: does not decode"):
    dataset.train.x[:2]
  path.write_bytes(Path(write(tmp_path / "short.mp4", count=20)).read_bytes())
  with pytest.raises(UserError, match=r"good\.mp4: its frame \d+ does not decode any more; load the data set again"):
    dataset.train.x[-1:]


def test_sound_alone(tmp_path):
  av = pytest.importorskip("av")
  with av.open(str(tmp_path / "a.mov"), "w") as container:
    stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
    frame.rate = 8000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  refused(f"video:{tmp_path / 'a.mov'}", r"a\.mov: holds no pictures; delete it$")


def test_without_pyav(tmp_path, monkeypatch):
  (tmp_path / "a.mp4").write_bytes(b"0" * 99)
  monkeypatch.setitem(sys.modules, "av", None)
  refused(f"video:{tmp_path}", r"a\.mp4: to read it, PyAV is needed: pip install 'sslx\[video\]' or \./launch\.sh .*")
