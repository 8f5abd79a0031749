"""What is said of a name that no data set has."""

import difflib
import os
from collections.abc import Mapping

from sslx.data.footage import EXTENSIONS as VIDEOS
from sslx.data.text_files import TEXTS


def unknown(spec: str, names: Mapping[str, str]) -> str:
  """One line: what may be meant. names: of all data sets, and how each is written."""
  if spec and os.path.isdir(os.path.expanduser(spec)):
    kinds = f"folder:{spec} (images), audio:{spec} (sound), text:{spec}, idx:{spec} (IDX files)"
    kinds = f"{kinds}, coco:{spec}, davis:{spec}, video:{spec}, or shards: parquet:{spec}, webdataset:{spec}, hf:{spec}"
    return f"--dataset={spec}: a folder needs its kind in front: {kinds}"
  close = difflib.get_close_matches(spec.partition(":")[0][:100], names, n=2)
  if not close and spec.endswith((".npz", ".csv")):
    return f"--dataset={spec}: write {spec[-3:]}:{spec}"
  if not close and spec.endswith(TEXTS.extensions):
    return f"--dataset={spec}: write text:{spec}"
  if not close and spec.lower().endswith(VIDEOS):
    return f"--dataset={spec}: write video:{spec}"
  for ending, scheme in ((".parquet", "parquet"), (".tar", "webdataset"), (".array_record", "array_record")):
    if spec.endswith(ending):
      return f"--dataset={spec}: write {scheme}:{spec}"
  if not close and spec.isidentifier() and len(spec) < 100:
    from sslx.data import catalogue

    close = [f"tfds:{name}" for name in catalogue.nearest(spec, 2)]
  hint = f"did you mean {' or '.join(close)}? All: " if close else ""
  return f"--dataset={spec}: unknown; {hint}{', '.join(names.values())}"
