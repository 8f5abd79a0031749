"""`audio:DIR`: DIR/train/CLASS/*.wav, [DIR/test/CLASS/*.wav], and [DIR/unlabeled/] for recordings without labels,
which may be all there is.

Or as Speech Commands is laid out (Warden, "Speech Commands", 2018, arXiv:1804.03209): DIR/CLASS/*.wav, of which those
in DIR/testing_list.txt are the test split. Those in DIR/validation_list.txt stay in the training split, as everything
here that is chosen is chosen by cross-validation in it; DIR/_background_noise_ is left out.
"""

from pathlib import Path

import numpy as np

from sslx.data.images import within
from sslx.data.recordings import RECORDINGS, headers_of, length_of, rate_of, recordings_of
from sslx.data.tree import Classes, class_folders, is_kind, listed, readable
from sslx.data.types import Dataset, Request, Split, sound_classes
from sslx.types import UserError

TESTING = "testing_list.txt"
NOISE = "_background_noise_"


def load_audio(request: Request) -> Dataset:
  """Recordings i16 [N,T], RAW_PAD behind their ends: several channels are mixed down, and all get one sample rate.

  T is that of `request.seconds`; where it is not given, of the longest recording, at most 10 s. What is cut, and what
  is passed over, is told on stderr. A split of more bytes than the limit stays on disk.

  Raises:
    UserError: naming the folder or file: missing, without recordings, unreadable, empty, truncated, shorter than 25 ms,
      not finite, a test class unknown to train, or files of two sample rates while --sample_rate is not given.
  """
  root = Path(request.argument).expanduser()
  if not root.is_dir():
    raise UserError(f"{root}: no such folder")
  has_list = (root / TESTING).is_file() and not (root / "train").is_dir()
  if has_list and request.labels_file is not None:
    raise UserError(
      f"--labels_file={request.labels_file}: is for DIR/train/ and DIR/unlabeled/, not for {root / TESTING}"
    )
  kind = RECORDINGS
  classes = _speech_commands(root) if has_list else class_folders(root, request.spec, kind, request.labels_file)
  names, files, labels = classes
  headers = headers_of([path for paths in files.values() for path in paths])
  rate = rate_of(headers, request.sample_rate)
  length = length_of(request.spec, list(headers.values()), rate, request.seconds)
  splits = {
    part: Split(within(recordings_of(paths, headers, rate, length), request.in_memory_limit), labels[part], paths)
    for part, paths in files.items()
  }
  return sound_classes(request.spec, rate, names, splits["train"], splits.get("test"), splits.get("unlabeled"))


def _speech_commands(root: Path) -> Classes:
  """The files of DIR/CLASS, split by DIR/testing_list.txt, whose lines are CLASS/FILE.

  Raises:
    UserError: naming the folder or line: fewer than two classes, a class without recordings, no file of this name.
  """
  names = [name for name in listed(root) if (root / name).is_dir() and name != NOISE]
  if len(names) < 2:
    raise UserError(f"{root}: holds {len(names)} class folders; at least two are needed")
  known: dict[str, int] = {}
  for label, name in enumerate(names):
    recordings = [f"{name}/{file}" for file in listed(root / name) if is_kind(file, RECORDINGS)]
    if not recordings:
      raise UserError(f"{root / name}: holds no recordings ({', '.join(RECORDINGS.extensions)})")
    known |= dict.fromkeys(recordings, label)
  tested: set[str] = set()
  for number, line in enumerate((root / TESTING).read_text("utf-8", "replace").splitlines(), 1):
    if line.strip() and line.strip() not in known:
      raise UserError(f"{root / TESTING}, line {number}: {line.strip()}: no such recording in {root}")
    tested |= {line.strip()} - {""}
  parts = {"train": [name for name in known if name not in tested], "test": [name for name in known if name in tested]}
  for part, each in parts.items():
    if not each:
      raise UserError(f"{root / TESTING}: leaves nothing for the {part} split")
  files = {part: [str(root / name) for name in each] for part, each in parts.items()}
  return Classes(readable(names), files, {part: np.array([known[n] for n in p], np.int32) for part, p in parts.items()})
