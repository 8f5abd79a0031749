"""Experiments on text: documents with few labels, a corpus without any, and what is refused of both."""

import dataclasses
import json
import re

import numpy as np
import pytest
from helpers import call, directory

from experiments.shared import runs
from sslx import data
from sslx.pretext import METHODS
from sslx.report import records
from sslx.training import run
from sslx.training.config import Config

TOPICS = {"animals": "cat dog horse cow lion", "colours": "red green blue yellow black"}
COMMON = ["the", "of", "a", "to", "in", "is", "and", "for", "with", "on"]


def text(rng: np.random.Generator, topic: str) -> str:
  words = [rng.choice(TOPICS[topic].split() if rng.random() < 0.4 else COMMON) for _ in range(rng.integers(5, 25))]
  return " ".join(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Documents of two classes, some without labels, and a corpus of the same words."""
  root, rng = tmp_path_factory.mktemp("documents"), np.random.default_rng(0)
  for split, count in {"train": 30, "test": 12}.items():
    for topic in TOPICS:
      place = root / "documents" / split / topic
      place.mkdir(parents=True)
      for i in range(count):
        (place / f"{i}.txt").write_text(text(rng, topic))
  (root / "documents" / "unlabeled").mkdir()
  for i in range(20):
    (root / "documents" / "unlabeled" / f"{i}.txt").write_text(text(rng, list(TOPICS)[i % 2]))
  (root / "corpus.txt").write_text("\n".join(text(rng, list(TOPICS)[i % 2]) for i in range(300)))
  return root


def documents(folder) -> str:
  return f"--dataset=text:{folder / 'documents'}"


@pytest.fixture(scope="module")
def compared(folder, tmp_path_factory):
  """Its --out, and the run directory of skip-gram."""
  out = tmp_path_factory.mktemp("runs")
  given = [documents(folder), f"--out={out}", "--smoke", "--labels=12", "--seeds=2", "--modes=scratch,frozen,full"]
  assert call("low_label", "--method=skipgram", "--encoder=words:width=8", "--min_count=2", *given) == 0
  assert call("low_label", "--method=denoise", *given) == 0
  return out, directory(out, "skipgram")


def test_tables_have_what_words_alone_give(compared):
  for name in ("skipgram", "denoise"):
    rows = records.read_rows(directory(compared[0], name) / "results.jsonl")
    modes = [row["mode"] for row in rows if row["subset_seed"] == 0]
    assert sorted(modes) == sorted(["raw", "lsa", "random", "scratch", "frozen", "full"])
    assert {row["modality"] for row in rows} == {"text"}
    raw = [row["test_accuracy"] for row in rows if row["mode"] == "raw"]
    assert np.mean(raw) > 0.8  # the words of the topics tell the class


def test_a_checkpoint_knows_its_words(compared, folder, capsys):
  out, made = compared
  given = [f"--checkpoint={made}", f"--out={out}", "--smoke", "--labels=12", "--seeds=1", "--modes=frozen"]
  assert call("probe", documents(folder), "--min_count=2", *given) == 0
  capsys.readouterr()
  assert call("probe", documents(folder), "--min_count=2", "--max_words=5", *given) != 0
  error = capsys.readouterr().err
  assert "its words are not those that this encoder was made for" in error
  assert "--min_count" in error


def test_a_method_of_images_has_defaults_for_bags_of_words(compared):
  config = json.loads((directory(compared[0], "denoise") / "config.json").read_text())
  assert config["encoder"] == METHODS["denoise"].encoder_for("text") == "bag+mlp:widths=512,code=0"
  assert (config["hp"]["noise"], config["hp"]["output"], config["hp"]["loss"]) == ("masking", "softmax", "multinomial")


def test_a_corpus_is_pretrained_on_and_nothing_is_asked_of_it(folder, tmp_path, capsys):
  given = [f"--dataset=text:{folder / 'corpus.txt'}", f"--out={tmp_path}", "--smoke", "--encoder=words:width=8"]
  assert call("pretrain", "--method=cbow", *given) == 0
  capsys.readouterr()
  assert call("low_label", "--method=cbow", *given) != 0
  assert "has no labels to be used; pretrain on it" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("method", "encoder", "why"),
  [
    ("simclr", None, "--method=simclr: takes image or video or sound data, and this data set is text"),
    ("autoencode", "words", "--method=autoencode: of text it needs bags of words"),
    ("skipgram", "transformer", "--method=skipgram: .*--encoder=words"),
    ("masked_words", "words", "--method=masked_words: .*--encoder=transformer"),
    ("denoise", "conv", "reads images, and a bag of words is none"),
    ("supervised", "wave", "reads waveforms, and the data is text"),
  ],
)
def test_what_does_not_go_together_is_refused(folder, tmp_path, capsys, method, encoder, why):
  given = [documents(folder), f"--out={tmp_path}", "--smoke", f"--method={method}"]
  assert call("pretrain", *given, *([f"--encoder={encoder}"] if encoder else [])) != 0
  error = capsys.readouterr().err
  assert len([line for line in error.splitlines() if line.startswith("error")]) == 1
  (line,) = [line for line in error.splitlines() if line.startswith("error")]
  assert re.search(why, line), line


def test_short_texts_are_laid_end_to_end_for_methods_of_streams(folder):
  dataset = data.load(f"text:{folder / 'documents'}", min_count=2)
  plans = {name: run.plan(Config(method=name, dataset="", watch=8), dataset) for name in ("skipgram", "denoise")}
  words, texts = (plans[name].data["x"] for name in ("skipgram", "denoise"))
  assert texts.shape == (len(dataset.pretraining_x) - 6, dataset.x_shape[0])
  assert (words != 0).sum() == (texts != 0).sum()
  assert words.shape[1] == 256
  assert plans["skipgram"].config.x_shape == dataset.x_shape
  corpus = data.load(f"text:{folder / 'corpus.txt'}", min_count=2)
  stream = run.plan(Config(method="skipgram", dataset="", watch=0), corpus).data["x"]
  np.testing.assert_array_equal(stream, corpus.train.x)
  assert dataclasses.replace(corpus, origin="x").meaning is corpus.vocabulary


def test_rows_say_what_their_data_were_made_from(folder, tmp_path, monkeypatch, capsys):
  """Where that changes from machine to machine, as of python_docs; and the same command has nothing to do again."""
  load = runs.load_dataset
  monkeypatch.setattr(runs, "load_dataset", lambda spec: dataclasses.replace(load(spec), origin="numpy 2; digest ab12"))
  given = [documents(folder), "--method=skipgram", "--encoder=words:width=8", f"--out={tmp_path}", "--smoke"]
  given += ["--labels=12", "--seeds=1", "--modes=frozen"]
  assert call("low_label", *given) == 0
  rows = records.read_rows(directory(tmp_path, "skipgram") / "results.jsonl")
  assert {row["data_origin"] for row in rows} == {"numpy 2; digest ab12"}
  assert call("low_label", *given) == 0
  assert records.read_rows(directory(tmp_path, "skipgram") / "results.jsonl") == rows
