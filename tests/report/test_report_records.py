"""sslx.report.records: what is written is read back, whatever a kill leaves, and says where it comes from."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from sslx.report import records
from sslx.types import UserError


def test_rows_come_back_as_plain_numbers(tmp_path):
  path = tmp_path / "new" / "results.jsonl"
  assert records.read_rows(path) == []
  given = {"a": np.float32(0.5), "b": jnp.int32(3), "c": np.arange(2), "d": float("nan"), "e": jnp.bfloat16(2)}
  records.append_row(path, given | {"f": {"deep": (np.bool_(True), -np.inf, None)}, "g": path, "h": "ü"})
  expected = {"a": 0.5, "b": 3, "c": [0, 1], "d": None, "e": 2.0, "f": {"deep": [True, None, None]}}
  assert records.read_rows(path) == [expected | {"g": str(path), "h": "ü"}]
  with pytest.raises(TypeError, match="no JSON form for object"):
    records.append_row(path, {"a": object()})
  assert len(records.read_rows(path)) == 1


@pytest.mark.parametrize(
  "tail", [b'{"i": 1, "x": ', b'{"i"', b"\xff\xfe", b"null", b'{"broken": \n', b"x" * 200_000], ids=range(6)
)
@pytest.mark.parametrize("head", [b"", b'{"i": 0}\n', b'{"i": 0, "long": "' + b"y" * 70_000 + b'"}\n'], ids=range(3))
def test_a_broken_last_line_is_dropped_then_cut_off(tmp_path, head, tail):
  path = tmp_path / "results.jsonl"
  path.write_bytes(head + tail)
  before = records.read_rows(path)
  assert len(before) == head.count(b"\n")
  records.append_row(path, {"i": 9})
  assert records.read_rows(path) == [*before, {"i": 9}]
  assert path.read_bytes() == head + b'{"i": 9}\n'


def test_a_whole_last_line_without_newline_is_kept(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_bytes(b'{"i": 0}\n{"i": 1}')
  records.append_row(path, {"i": 2})
  assert [r["i"] for r in records.read_rows(path)] == [0, 1, 2]


def test_a_broken_earlier_line_is_named(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_text('{"i": 0}\n\n{"i": \n{"i": 2}\n')
  with pytest.raises(UserError, match=r"results\.jsonl: line 3 "):
    records.read_rows(path)


def test_jsonl_lines_are_valid_json(tmp_path):
  path = tmp_path / "metrics.jsonl"
  for step in range(3):
    records.append_row(path, {"step": step, "loss": jnp.float32(np.nan)})
  assert [json.loads(line) for line in path.read_text().splitlines()][2] == {"step": 2, "loss": None}


def test_provenance_is_written_and_read_back(tmp_path):
  made = records.provenance()
  assert set(made["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "sslx"}
  assert re.search(r" x\d+; .+, \d+ cores$", made["device"])
  assert made["git"] is None or re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", made["git"])
  records.append_row(tmp_path / "a", made)
  assert records.read_rows(tmp_path / "a") == [made]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_is_the_hash_of_this_package_not_of_a_repository_around_it(tmp_path, monkeypatch):
  def git(*arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

  for folder in ("sslx/report", "venv/sslx/report"):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "records.py").write_text("")
  monkeypatch.setattr(records, "__file__", str(tmp_path / "sslx/report/records.py"))
  assert records._git() is None  # no repository
  git("init", "-q")
  assert records._git() is None  # no commit
  git("add", ".")
  git("commit", "-qm", "a")
  assert re.fullmatch(r"[0-9a-f]{7,}", records._git())
  (tmp_path / "sslx" / "new_method.py").write_text("")
  assert records._git().endswith("-dirty")
  monkeypatch.setattr(records, "__file__", str(tmp_path / "venv/sslx/report/records.py"))
  assert records._git() is None


# ---- whole files -----------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
  path = tmp_path / "new" / "file"
  records.write_bytes(path, b"first")
  assert path.read_bytes() == b"first"

  def fail():
    with records.writing(path) as temporary:
      temporary.write_bytes(b"sec")
      assert path.read_bytes() == b"first"
      raise OSError("the disk is full")

  with pytest.raises(OSError, match="full"):
    fail()
  assert path.read_bytes() == b"first"
  with pytest.raises(OSError, match="before"), records.writing(path):
    raise OSError("before anything was written")
  assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_names_the_file_and_keeps_it(tmp_path, monkeypatch, call):
  path = tmp_path / "file"
  records.append_row(path, {"i": 0})

  def full(first, *others):
    raise OSError(errno.ENOSPC, "No space left on device", *([first] if others else []))  # of a write: no name

  monkeypatch.setattr(os, call, full)
  for write, value in ((records.write_bytes, b"new"), (records.append_row, {"i": 1}))[: 2 if call == "fsync" else 1]:
    with pytest.raises(OSError, match="No space left") as error:
      write(path, value)
    assert error.value.filename == str(path)
  assert records.read_rows(path)[0] == {"i": 0}
  assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_is_written_is_on_disk_with_its_name(tmp_path, monkeypatch):
  synced, fsync, replace = [], os.fsync, os.replace
  monkeypatch.setattr(os, "fsync", lambda n: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{n}"))))
  monkeypatch.setattr(os, "replace", lambda a, b: synced.append("replace") or replace(a, b))
  folder = tmp_path / "folder"
  records.write_bytes(folder / "file", b"")
  assert synced == [f".file.{os.getpid()}.tmp", "replace", "folder"]
  for expected in (["rows", "folder"], ["rows"]):  # the second row makes no name
    synced.clear()
    records.append_row(folder / "rows", {})
    assert synced == expected
  monkeypatch.setattr(os, "fsync", fsync)


def test_what_killed_processes_left_is_swept(tmp_path):
  dead = subprocess.Popen([sys.executable, "-c", ""])
  dead.wait()
  mine, gone = os.getpid(), dead.pid
  keep = [f".results.jsonl.{mine}.tmp", ".checkpoints.old", ".note.tmp", f".note.{gone}", f"a.{gone}.tmp", ".hidden",
          f"checkpoints/.a.{gone}.tmp", f".checkpoints.{mine}"]  # fmt: skip
  swept = [f".results.jsonl.{gone}.tmp", f"figures/.loss.png.{gone}.tmp", f".a.{2**70}.tmp"]
  for name in (*keep, *swept):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  (tmp_path / f".checkpoints.{gone}" / "1").mkdir(parents=True)
  records.sweep(tmp_path)
  assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(keep)
  assert not (tmp_path / f".checkpoints.{gone}").exists()
  records.sweep(tmp_path / "absent")


def test_speeds_of_older_rows_are_read():
  assert records.examples_per_second({"examples_per_second": 2.0}) == 2.0
  assert records.examples_per_second({"images_per_second": 3.0}) == 3.0
  assert records.examples_per_second({}) is None
