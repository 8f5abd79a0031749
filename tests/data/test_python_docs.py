"""python_docs: what is read of packages, that nothing is imported, and that the splits share nothing."""

import gc
import random
import sys

import numpy as np
import pytest

from sslx import data
from sslx.data import docstrings, python_docs
from sslx.data.docstrings import Package, packages_beside, paragraphs_of, standard_library, without_tests
from sslx.data.fingerprint import fingerprint
from sslx.data.lazy import LazyArray
from sslx.data.types import Request
from sslx.data.words import words_of
from sslx.ops.text import FIRST, PAD
from sslx.types import UserError

MODULE = '''# -*- coding: latin-1 -*-
"""Module text.

Second
paragraph, caf\u00e9."""
raise SystemExit("this module was imported")
import nothing_that_exists

def f(x):
  r"""Of f: \\alpha.

  Example:
  >>> f(1)
  left_out

  Still of f.
  """
  def inner():
    "Inner text."
  "no docstring"
  return """no docstring either"""

class A:
  """Of A."""
  B = """none"""
  if True:
    async def g(self):
      """Of g."""
  else:
    def g(self):
      """Of the other g."""
  try:
    pass
  except Exception:
    def h(self):
      """Of h, 1 > 0 >>> shift."""

def undocumented():
  pass

def of_signs():
  """---- 123 ----"""
'''


def test_paragraphs_of_docstrings_in_their_order(tmp_path):
  path = tmp_path / "module.py"
  path.write_bytes(MODULE.encode("latin-1"))
  assert [" ".join(words) for words in paragraphs_of(str(path))] == [
    "module text", "second paragraph caf\u00e9", "of f alpha", "example", "still of f", "inner text", "of a", "of g",
    "of the other g", "of h shift",
  ]  # fmt: skip


@pytest.mark.parametrize(
  "content", [b"def f(:\n  '''text'''", b"'''a\0b'''", b"\xff\xfe", b"{{ template }} = '''a'''("]
)
def test_what_is_no_module_is_passed_over(tmp_path, content):
  path = tmp_path / "module.py"
  path.write_bytes(content)
  assert list(paragraphs_of(str(path))) == []
  assert list(paragraphs_of(str(tmp_path / "none.py"))) == []


def test_tests_are_left_out():
  names = [
    "a/core.py", "a/contest.py", "a/latest.py", "a/doctest.py", "a/unittest/case.py", "a/attest/b.py", "a/greatest.py",
    "a/test.py", "a/tests.py", "a/tests/b.py", "a/test/b.py", "a/test_b.py", "a/b_test.py", "a/conftest.py",
    "a/testing/b.py", "test_a.py", "a/b_tests/c.py", "idlelib/idle_test/a.py",
  ]  # fmt: skip
  kept = without_tests([(name, name) for name in names])
  assert [name for name, _ in kept] == sorted(names[:7])


WORDS = [a + b for a in ("ka", "lo", "mi", "nu") for b in ("ra", "se", "ti", "vo", "xy")]


def text(draw, count, name):
  return " ".join([name, *draw.choices(WORDS, k=count - 1)])


def package(root, name, modules, seed, extra=()):
  """A package whose modules refuse to be imported, each with five documents and three shorter paragraphs."""
  draw = random.Random(seed)
  (root / name / "tests").mkdir(parents=True)
  files = {}
  for i in range(modules):
    paragraphs = [text(draw, draw.randint(15, 40), name) for _ in range(5)]
    paragraphs += [text(draw, draw.randint(1, 14), name) for _ in range(3)] + list(extra)
    draw.shuffle(paragraphs)
    files[f"{name}/m{i}.py"] = paragraphs
  for place, paragraphs in files.items():
    quoted = "\n\n".join(paragraphs)
    (root / place).write_text(f'"""{quoted}"""\nraise SystemExit("imported")\n')
  (root / name / "tests" / "a.py").write_text('"""Secret words of tests."""')
  found = [(path.relative_to(root).as_posix(), str(path)) for path in (root / name).rglob("*.py")]
  return Package(name, f"1.{seed}", without_tests(found)), files


SIZES = {"alpha": 30, "beta": 24, "gamma": 40, "small": 4}
COMMON = ("a line of every module", " ".join(["one", "long", "paragraph", "of", "every", "module", *WORDS[:12]]))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """(packages, {package: {module: paragraphs}}); three of four become classes."""
  root = tmp_path_factory.mktemp("site")
  every = {name: package(root, name, count, i, COMMON) for i, (name, count) in enumerate(SIZES.items())}
  return [each for each, _ in every.values()], {name: files for name, (_, files) in every.items()}


@pytest.fixture(autouse=True)
def three_classes(monkeypatch):
  monkeypatch.setattr(python_docs, "CLASSES", 3)


def load(packages, folder, limit=1 << 30, **how):
  request = Request("python_docs", "", str(folder), None, limit, **{"min_count": 1, **how})
  return python_docs.load_python_docs(request, packages)


def texts_of(dataset, split):
  return [tuple(dataset.vocabulary.decode(row)) for row in np.asarray(split.x)]


def test_documents_are_long_paragraphs_of_the_largest_packages(made, tmp_path):
  packages, files = made
  dataset = load(packages, tmp_path)
  assert (dataset.modality.name, dataset.task.name, dataset.task.names) == (
    "text", "classification", ("alpha", "beta", "gamma")
  )  # fmt: skip
  assert (dataset.train.x.dtype, dataset.x_shape) == (np.int32, (128,))
  assert not [name for name in sys.modules if name.partition(".")[0] in SIZES]
  sources = {}
  for name, modules in files.items():
    for place, paragraphs in modules.items():
      for paragraph in paragraphs:
        sources.setdefault(tuple(words_of(paragraph)), set()).add((name, place))
  held_out = {
    place for modules in files.values() for place in modules if python_docs._is_held_out(place.split("/")[0], place)
  }
  assert 10 < len(held_out) < 30
  train, test, rest = (texts_of(dataset, split) for split in (dataset.train, dataset.test, dataset.unlabeled))
  for words, label in zip(train + test, [*dataset.train.y, *dataset.test.y], strict=True):
    assert len(words) >= 15
    assert dataset.task.names[label] in {name for name, _ in sources[words]}
  assert min(np.bincount(dataset.test.y)) == max(np.bincount(dataset.test.y)) > 10
  for words in test:
    assert {place for _, place in sources[words]} <= held_out
  for words in train + rest:  # of a held-out module there may be only what stands in another one, too
    assert {place for name, place in sources[words] if name == "small" or place not in held_out}
  expected = {words for words, places in sources.items() if any(n == "small" or p not in held_out for n, p in places)}
  assert set(train) | set(rest) == expected
  assert len(set(train + rest + test)) == len(train + rest + test)  # each once
  assert not {"secret", "tests"} & set(dataset.vocabulary.words)


def test_the_vocabulary_is_of_what_pretraining_sees(made, tmp_path):
  for how in ({}, {"min_count": 500}, {"max_words": 5}, {"max_length": 7}):
    dataset = load(made[0], tmp_path, **how)
    ids = np.asarray(dataset.pretraining_x)
    counts = np.bincount(ids.ravel(), minlength=dataset.vocabulary.size)
    assert counts[FIRST:].tolist() == dataset.vocabulary.counts.tolist()
    holders = [(ids == FIRST + i).any(1).sum() for i in range(len(dataset.vocabulary))]
    assert holders == dataset.vocabulary.texts.tolist()
    assert dataset.vocabulary.total == len(ids)
    assert (ids != PAD).any(1).all()
  assert dataset.x_shape == (7,)


def test_nothing_of_test_is_in_train_when_words_are_no_more_told_apart(made, tmp_path):
  dataset = load(made[0], tmp_path, max_length=3, max_words=4)
  test, train = ({row.tobytes() for row in split.x} for split in (dataset.test, dataset.train))
  assert not test & train


def test_what_is_read_is_kept(made, tmp_path, monkeypatch, capsys):
  first = load(made[0], tmp_path)
  told = capsys.readouterr().err
  assert told.startswith(
    f"python_docs: docstrings of 4 packages are read once, and kept in {tmp_path}/sslx_python_docs/"
  )
  monkeypatch.setattr(python_docs, "paragraphs_of", None)  # nothing is read again
  again, lazy = load(made[0], tmp_path), load(made[0], tmp_path, 1000)
  assert isinstance(lazy.train.x, LazyArray)
  for other in (again, lazy):
    assert np.array_equal(np.asarray(other.train.x), first.train.x)
    assert np.array_equal(np.asarray(other.unlabeled.x), first.unlabeled.x)
    assert (other.vocabulary, other.origin) == (first.vocabulary, first.origin)
  assert fingerprint(again) == fingerprint(first)
  assert fingerprint(lazy) == fingerprint(load(made[0], tmp_path, 1000))
  assert len(load(made[0], tmp_path, max_words=5).vocabulary) == 5
  assert capsys.readouterr().err == ""


def test_other_versions_are_other_data(made, tmp_path):
  first = load(made[0], tmp_path)
  assert first.origin.startswith("alpha 1.0, beta 1.1, gamma 1.2 and 1 more; digest ")
  renamed = [made[0][0]._replace(version="2.0"), *made[0][1:]]
  other = load(renamed, tmp_path)
  assert len(list((tmp_path / "sslx_python_docs").iterdir())) == 2
  assert other.origin == first.origin.replace("alpha 1.0", "alpha 2.0")  # its text is the same
  fewer = load(made[0][:3], tmp_path)
  assert fewer.origin.rpartition(" ")[2] != first.origin.rpartition(" ")[2]


def test_the_split_of_a_module_depends_on_its_name_alone(made, tmp_path):
  whole, fewer = load(made[0], tmp_path), load(made[0][:3], tmp_path)
  assert set(texts_of(fewer, fewer.train)) <= set(texts_of(whole, whole.train)) | set(texts_of(whole, whole.unlabeled))
  assert not set(texts_of(fewer, fewer.test)) & set(texts_of(whole, whole.train))


def test_too_few_packages_are_told(made, tmp_path):
  with pytest.raises(UserError, match=r"python_docs: 1 packages have docstrings of 15 words and more; at least two"):
    load(made[0][:1], tmp_path)


def test_the_search_for_cycles_goes_on_afterwards():
  assert gc.isenabled()
  with docstrings.without_collection():
    assert not gc.isenabled()
  assert gc.isenabled()


def test_packages_are_those_that_sslx_requires():
  """Not sslx itself, nor what tests need, though it is installed beside."""
  names = [package.name for package in packages_beside()]
  assert names == sorted(names)
  assert {"python", "numpy", "scipy", "jax", "flax", "optax", "orbax-checkpoint", "matplotlib", "kiwisolver"} <= {
    *names
  }
  assert not {"sslx", "pytest", "ruff", "scikit-learn", "sphinx", "torch"} & {*names}
  with pytest.raises(UserError, match=r"python_docs: no-such-package is not installed.*; pip install"):
    packages_beside("no-such-package")


def test_the_real_packages_are_read(tmp_path, monkeypatch):
  monkeypatch.setattr(python_docs, "CLASSES", 8)
  some = [package for package in packages_beside() if package.name in ("optax", "flax", "rich")]
  library = standard_library()
  some.append(library._replace(modules=[each for each in library.modules if each[0] < "d"]))
  monkeypatch.setattr(python_docs, "packages_beside", lambda: some)
  before = set(sys.modules)
  dataset = data.load("python_docs", str(tmp_path))
  assert not {name for name in set(sys.modules) - before if name.startswith(("antigravity", "rich", "flax"))}
  assert dataset.task.names == ("flax", "optax", "python", "rich")
  assert min(np.bincount(dataset.test.y)) == max(np.bincount(dataset.test.y)) > 10
  assert {"returns", "optimizer", "learning", "the"} <= set(dataset.vocabulary.words)
