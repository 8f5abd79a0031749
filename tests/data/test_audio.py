"""audio:DIR: what is read of files of sound, and which of them are refused."""

import dataclasses
import struct

import numpy as np
import pytest
import soundfile

from sslx import data
from sslx.data import recordings
from sslx.data.check import checked
from sslx.data.fingerprint import fingerprint_of
from sslx.data.lazy import LazyArray
from sslx.data.types import Split, sound_classes
from sslx.ops.sound import RAW_PAD
from sslx.types import UserError

RATE = 16_000


def tone(hertz=440.0, seconds=0.5, rate=RATE, amplitude=0.5):
  return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def save(path, samples=None, rate=RATE, **how):
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, tone() if samples is None else samples, rate, **how)
  return path


@pytest.fixture
def root(tmp_path):
  """Two classes of tones; each recording has a pitch of its own."""
  for i, part in enumerate(("train", "test")):
    for j, name in enumerate(("high", "low")):
      for k in range(2):
        save(tmp_path / part / name / f"{k}.wav", tone(300 + 200 * i + 100 * j + 50 * k))
  return tmp_path


def load(root, **how):
  return data.load(f"audio:{root}", **how)


def refused(root, message, **how):
  with pytest.raises(UserError, match=message) as error:
    load(root, **how)
  assert "\n" not in str(error.value)


def lengths(x):
  sound = np.asarray(x) != RAW_PAD
  assert not (np.diff(sound.astype(np.int8), axis=1) > 0).any()
  return sound.sum(1)


def pitch(samples, rate):
  """Hz of the loudest frequency of i16 [T], between two bins."""
  power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 18))
  return power.argmax() * rate / (1 << 18)


# ---- what is read


def test_classes_are_folders(root, capsys):
  save(root / "unlabeled" / "deep" / "u.wav", tone(999))
  (root / "train" / "low" / "notes.txt").write_text("no sound")
  save(root / "train" / "low" / ".hidden.wav")
  dataset = load(root)
  assert (dataset.modality.name, dataset.task.name, dataset.task.names, dataset.rate) == (
    "sound", "classification", ("high", "low"), RATE
  )  # fmt: skip
  assert dataset.split_sizes == {"train": 4, "test": 4, "unlabeled": 1}
  assert dataset.train.y.tolist() == [0, 0, 1, 1]
  names = ("high/0.wav", "high/1.wav", "low/0.wav", "low/1.wav")
  assert dataset.train.files == [str(root / "train" / name) for name in names]
  assert dataset.train.x.dtype == np.int16
  assert [pitch(row, RATE) for row in dataset.train.x] == pytest.approx([300, 350, 400, 450], abs=0.5)
  assert [pitch(row, RATE) for row in dataset.test.x] == pytest.approx([500, 550, 600, 650], abs=0.5)
  assert capsys.readouterr().err == f"warning: audio:{root}: passed over 1 file that is no recording: 1 .txt\n"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.WAV", "a.aiff", "a.au", "a.caf"])
def test_samples_of_16_bits_are_kept(root, name):
  samples = np.random.default_rng(0).integers(-32768, 32768, 8000).astype(np.int16)
  samples[:3] = -32768, -32767, 32767
  save(root / "train" / "high" / name, samples, subtype="PCM_16")
  dataset = load(root)
  row = dataset.train.x[dataset.train.files.index(str(root / "train" / "high" / name))]
  assert np.array_equal(row, np.maximum(samples, -32767))


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3", "a.opus"])
def test_compressed_files_are_read(root, name):
  kind = {"a.ogg": {}, "a.mp3": {}, "a.opus": {"format": "OGG", "subtype": "OPUS"}}[name]
  save(root / "train" / "high" / name, tone(1000), **kind)
  dataset = load(root)
  row = dataset.train.x[dataset.train.files.index(str(root / "train" / "high" / name))]
  assert pitch(row[1000:7000], RATE) == pytest.approx(1000, abs=3)
  assert np.abs(row[2000:6000]).max() == pytest.approx(16_384, rel=0.1)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])
def test_other_samples_are_rounded_and_clipped(root, subtype):
  samples = np.array([0, 0.25, -0.25, 1.5, -1.5, 10.4 / 32768, 10.6 / 32768, -1.0] * 500)
  if not subtype.startswith(("F", "D")):
    samples = np.clip(samples, -1, 1 - 2.0**-7)
  for part in ("train", "test"):
    save(root / part / "high" / "0.wav", samples, subtype=subtype)
  row = load(root).train.x[0, :8].tolist()
  if subtype == "PCM_U8":
    assert row == [0, 8192, -8192, 32512, -32767, 0, 0, -32767]
  elif subtype.startswith("PCM"):
    assert row == [0, 8192, -8192, 32512, -32767, 10, 11, -32767]
  else:
    assert row == [0, 8192, -8192, 32767, -32767, 10, 11, -32767]


def test_channels_are_mixed_down_to_their_mean(root):
  left, right = tone(440, amplitude=0.5), tone(880, amplitude=0.25)
  save(root / "train" / "high" / "0.wav", np.stack([left, right], 1), subtype="FLOAT")
  expected = np.rint((left + right) / 2 * 32768)
  assert np.abs(load(root).train.x[0] - expected).max() <= 1  # of rounding


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (8000, 16_000), (16_000, 8000), (22_050, 44_100)])
def test_a_tone_keeps_frequency_and_loudness_when_resampled(root, rate, wanted):
  save(root / "train" / "high" / "0.wav", tone(1234, 0.8, rate), rate)
  dataset = load(root, sample_rate=wanted)
  assert dataset.rate == wanted
  row = dataset.train.x[0]
  assert lengths(row[None])[0] == pytest.approx(0.8 * wanted, abs=1)
  inner = row[wanted // 10 : wanted * 7 // 10]
  assert pitch(inner, wanted) == pytest.approx(1234, abs=0.5)
  assert np.sqrt(2 * np.mean(inner.astype(float) ** 2)) == pytest.approx(16_384, rel=0.01)


def test_what_is_above_the_new_rate_is_filtered_out(root):
  save(root / "train" / "high" / "0.wav", tone(6000))
  inner = load(root, sample_rate=8000).train.x[0, 500:3000]
  assert np.abs(inner).max() < 30  # else it would be heard as 2,000 Hz


# ---- lengths


def test_shorter_recordings_are_padded_to_the_longest(root, capsys):
  save(root / "test" / "low" / "long.wav", tone(seconds=1.2345))
  dataset = load(root)
  assert dataset.x_shape == (round(1.2345 * RATE),)
  assert lengths(dataset.train.x).tolist() == [8000] * 4
  assert lengths(dataset.test.x).max() == dataset.x_shape[0]
  assert capsys.readouterr().err == ""


def test_by_default_recordings_are_cut_at_ten_seconds(root, capsys):
  save(root / "test" / "low" / "long.wav", tone(seconds=10.501))
  assert load(root).x_shape == (160_000,)
  told = capsys.readouterr().err
  assert "1 of 9 recordings is cut at 10 s; the longest is of 10.5 s" in told
  assert "--seconds=10.51 keeps all" in told


def test_seconds_cut_at_the_end_or_pad(root, capsys):
  whole = load(root).train.x
  assert np.array_equal(load(root, seconds=0.1).train.x, whole[:, :1600])
  assert "8 of 8 recordings are cut at 0.1 s" in capsys.readouterr().err
  padded = load(root, seconds=2).train.x
  assert np.array_equal(padded[:, :8000], whole)
  assert (padded[:, 8000:] == RAW_PAD).all()
  assert capsys.readouterr().err == ""


def test_a_cut_changes_nothing_of_what_is_kept(root):
  save(root / "train" / "high" / "0.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 5 * 44_100), 44_100)
  whole, cut = (load(root, sample_rate=16_000, seconds=seconds).train.x[0] for seconds in (5, 0.5))
  assert np.abs(whole[:8000].astype(int) - cut).max() <= 1


# ---- lazy


def test_lazy_equals_in_memory(root):
  save(root / "train" / "high" / "0.wav", tone(rate=44_100, seconds=0.3), 44_100)
  near, far = (load(root, sample_rate=RATE, in_memory_limit=limit) for limit in (1 << 30, 10))
  assert isinstance(far.train.x, LazyArray)
  assert np.array_equal(np.asarray(far.train.x), near.train.x)
  assert np.array_equal(far.test.x[np.array([3, 0])], near.test.x[[3, 0]])
  assert far.train.x.files == tuple(near.train.files)
  other = load(root, sample_rate=RATE // 2, seconds=1, in_memory_limit=10)
  assert other.x_shape == far.x_shape
  assert fingerprint_of(other.train.x) != fingerprint_of(far.train.x)


def test_nothing_is_decoded_of_a_lazy_set(root, monkeypatch):
  monkeypatch.setattr(soundfile, "read", None)
  assert load(root, in_memory_limit=10).x_shape == (8000,)


def test_the_same_recording_in_both_splits_is_told(root, capsys):
  save(root / "test" / "high" / "0.wav", tone(300))
  for limit in (1 << 30, 10):
    load(root, in_memory_limit=limit)
    assert "1 of 4 test examples have the same values as training examples" in capsys.readouterr().err


# ---- files that are refused


def broken(content):
  return lambda path: path.write_bytes(content(path.read_bytes()))


def patched(place, value):
  return broken(lambda b: b[:place] + value + b[place + len(value) :])


BAD = {
  "empty": (broken(lambda b: b""), "empty file"),
  "text": (broken(lambda b: b"no sound at all" * 99), "not a readable recording .Format not recognised"),
  "header": (broken(lambda b: b[:30]), "not a readable recording"),
  "truncated": (broken(lambda b: b[:9000]), r"truncated .8,956 of 16,000 bytes are there.; repair or delete it"),
  "one byte less": (broken(lambda b: b[:-1]), "truncated"),
  "no data": (broken(lambda b: b[:44]), "truncated"),
  "0 Hz": (patched(24, struct.pack("<I", 0)), "its header says 0 samples a second, or no channel"),
  "0 channels": (patched(22, struct.pack("<H", 0)), "Channel count is zero"),
  "no sample": (lambda path: save(path, np.zeros(0)), "0 ms long, shorter than a frame of 25 ms"),
  "short": (lambda path: save(path, tone(seconds=0.02)), "20 ms long, shorter than a frame of 25 ms"),
  "nan": (lambda path: save(path, tone() * np.nan, subtype="FLOAT"), "not finite"),
  "inf": (lambda path: save(path, np.append(tone(), np.inf), subtype="FLOAT"), "not finite"),
  "loud": (lambda path: save(path, tone() * 32768, subtype="FLOAT"), "reach 16384, where full scale is 1"),
}


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named(root, case, part):
  path = root / part / "low" / "1.wav"
  damage, message = BAD[case]
  damage(path)
  refused(root, f"^{path}: .*{message}")


@pytest.mark.parametrize(("name", "how"), [("a.flac", {}), ("a.mp3", {}), ("a.aiff", {}), ("a.au", {})])
def test_half_a_file_is_truncated_or_unreadable(root, name, how):
  path = save(root / "train" / "low" / name, np.random.default_rng(0).uniform(-1, 1, 30_000), **how)
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  refused(root, f"^{path}: (truncated|not a readable recording)")


def test_a_wav_that_was_streamed_says_no_size_and_is_read(root):
  path = root / "train" / "low" / "1.wav"
  before = load(root).train.x
  patched(40, b"\xff\xff\xff\xff")(path)
  assert np.array_equal(load(root).train.x, before)


def test_a_file_that_changes_under_a_lazy_set_is_told(root):
  lazy = load(root, in_memory_limit=10).train.x
  save(root / "train" / "high" / "0.wav", tone(), 8000)
  with pytest.raises(UserError, match=r"high/0.wav: has changed"):
    lazy[0]
  save(root / "train" / "high" / "0.wav", tone(seconds=0.3))
  with pytest.raises(UserError, match=r"high/0.wav: truncated .4,800 of 8,000 samples"):
    lazy[0]


def test_mixed_rates_need_a_flag(root):
  path = save(root / "test" / "low" / "1.wav", tone(rate=8000), 8000)
  first = root / "train" / "high" / "0.wav"
  refused(root, f"^{first} has 16000 samples a second but {path} has 8000: give --sample_rate")
  assert load(root, sample_rate=8000).rate == 8000


def test_a_rate_out_of_range_needs_a_flag(tmp_path):
  for part in ("train", "test"):
    for name in "ab":
      save(tmp_path / part / name / "0.wav", tone(100, 2, 2000), 2000)
  refused(tmp_path, "2000 samples a second; give --sample_rate, between 4000 and 192000")
  assert load(tmp_path, sample_rate=4000).x_shape == (8000,)


def test_wrong_folders(root, tmp_path_factory):
  empty = tmp_path_factory.mktemp("empty")
  refused(empty / "none", "none: no such folder")
  refused(empty, r"train: missing; audio:DIR needs DIR/train/CLASS/ with recordings, or DIR/unlabeled/")
  (empty / "train" / "a").mkdir(parents=True)
  refused(empty, "holds 1 class folders; at least two are needed")
  (root / "train" / "mid").mkdir()
  refused(root, r"train/mid: holds no recordings \(\.wav, ")
  (root / "train" / "mid").rmdir()
  (root / "unlabeled").mkdir()
  refused(root, "unlabeled: holds no recordings .*; delete it or fill it")
  (root / "unlabeled").rmdir()
  (root / "test" / "other").mkdir()
  refused(root, "class 'other' is unknown to")


def test_flags_of_images_are_refused_and_kinds_are_named(root):
  refused(root, "--image_size=32: is for images, and audio is sound", image_size=32)
  with pytest.raises(UserError, match=r"--seconds=1: is for sound, and folder is image"):
    data.load(f"folder:{root}", seconds=1)
  with pytest.raises(UserError, match=rf"a folder needs its kind in front: .*audio:{root} \(sound\)"):
    data.load(str(root))


# ---- the layout of Speech Commands


@pytest.fixture
def commands(tmp_path):
  for i, name in enumerate(("bed", "cat")):
    for k in range(3):
      save(tmp_path / name / f"{k}a_nohash_0.wav", tone(300 + 100 * i + 20 * k))
  save(tmp_path / "_background_noise_" / "noise.wav", tone(seconds=20))
  (tmp_path / "testing_list.txt").write_text("bed/1a_nohash_0.wav\ncat/2a_nohash_0.wav\n")
  (tmp_path / "validation_list.txt").write_text("bed/0a_nohash_0.wav\n")
  return tmp_path


def test_speech_commands_are_split_by_their_list(commands, capsys):
  dataset = load(commands)
  assert dataset.task.names == ("bed", "cat")
  assert [file.removeprefix(f"{commands}/") for file in dataset.test.files] == [
    "bed/1a_nohash_0.wav", "cat/2a_nohash_0.wav"
  ]  # fmt: skip
  assert (len(dataset.train), dataset.train.y.tolist(), dataset.test.y.tolist()) == (4, [0, 0, 1, 1], [0, 1])
  assert [pitch(row, RATE) for row in dataset.train.x] == pytest.approx([300, 340, 400, 420], abs=0.5)
  assert str(commands / "bed/0a_nohash_0.wav") in dataset.train.files  # of the validation list
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
  ("lines", "message"),
  [
    ("bed/1a_nohash_0.wav\ncat/9.wav\n", r"testing_list.txt, line 2: cat/9.wav: no such recording"),
    ("", "leaves nothing for the test split"),
    (
      "\n".join(f"{name}/{k}a_nohash_0.wav" for name in ("bed", "cat") for k in range(3)),
      "nothing for the train split",
    ),
  ],
)
def test_a_wrong_list_is_named(commands, lines, message):
  (commands / "testing_list.txt").write_text(lines)
  refused(commands, message)


# ---- rules of every data set of sound


def rows(*values):
  return np.array(values, np.int16)


GOOD = {"x": rows([1, 2, RAW_PAD], [3, 4, 5]), "rate": 8000}


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"rate": 0}, r"its rate is 0; say how many samples a second are"),
    ({"x": GOOD["x"].astype(np.float32)}, "train recordings are float32; they must be int16"),
    ({"x": GOOD["x"][..., None]}, r"train recordings have shape \[2, 3, 1\]; they must be \[N,T\]"),
    ({"x": GOOD["x"][:, :0]}, r"train recordings have shape \[2, 0\]"),
    ({"x": GOOD["x"][:, :2]}, "train recordings are of 2 samples but test recordings are of 3"),
    ({"x": GOOD["x"][:0]}, "the train split is empty; it needs at least one recording"),
    ({"x": rows([1, 2, 3], [RAW_PAD] * 3)}, "train recording 1 is of padding alone"),
    ({"x": rows([1, 2, 3], [1, RAW_PAD, 3])}, "train recording 1 holds -32768 before its end"),
    ({"y": np.array([0], np.int32)}, "2 train recordings but 1 train labels; there must be one label per recording"),
  ],
)
def test_rules_of_sound(change, message):
  y = np.array([0, 1], np.int32)
  test = Split(GOOD["x"], y)
  made = {**GOOD, "y": y, **change}
  checked(sound_classes("s", 8000, "ab", Split(GOOD["x"] + np.int16(0), y), test))
  with pytest.raises(UserError, match=f"s: {message}"):
    checked(sound_classes("s", made["rate"], "ab", Split(made["x"], made["y"]), test))


def test_silence_is_told(root, capsys):
  path = save(root / "train" / "low" / "1.wav", np.zeros(6000))
  load(root)
  assert f"1 of 4 train recordings is silent, all values 0: {path}" in capsys.readouterr().err
  y = np.array([0, 1], np.int32)
  still = sound_classes("s", 8000, "ab", Split(GOOD["x"], y), Split(np.zeros((2, 3), np.int16), y))
  checked(still)
  assert "s: 2 of 2 test recordings are silent, all values 0: test recording 0" in capsys.readouterr().err
  checked(dataclasses.replace(still, test=still.train), tell=False)
  assert capsys.readouterr().err == ""


def test_rounding_never_makes_padding():
  made = recordings.sixteen_bits(np.array([-1.0, -2.0, 1.0, 0.5 / 32768, 1.5 / 32768], np.float32))
  assert made.tolist() == [-32767, -32767, 32767, 0, 2]
