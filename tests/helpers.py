"""What the tests of several experiments share: running one, finding its rows, reading
a page, opening it in a browser."""

import dataclasses
import html
import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PACKAGES = ("one_percent", "rotnet_mnist")


def module_of(experiment: str) -> str:
  """The module that `python -m experiments.NAME` runs."""
  return f"experiments.{experiment}.__main__" if experiment in PACKAGES else f"experiments.{experiment}"


def call(experiment: str, *arguments: str) -> int:
  """The exit status of an experiment, run in this process."""
  from experiments.shared import cli

  module = module_of(experiment)
  return cli.run(importlib.import_module(module).main, module, [experiment, *arguments])


@contextmanager
def hidden_test_split() -> Iterator[list[tuple]]:
  """Within, training gets a data set without a test split. Gives (case, number of
  test examples) of each test so far."""
  from sslx.evaluation import evaluate

  training, test_one, tested = evaluate.training, evaluate.test_one, []

  def without_test_split(bench, cases):
    return training(dataclasses.replace(bench, dataset=dataclasses.replace(bench.dataset, test=None)), cases)

  def counted(case, trained, split, task, memory, *rows):
    tested.append((case, len(split)))
    return test_one(case, trained, split, task, memory, *rows)

  evaluate.training, evaluate.test_one = without_test_split, counted
  try:
    yield tested
  finally:
    evaluate.training, evaluate.test_one = training, test_one


def nothing_to_train(bench, cases) -> Iterator:
  """In place of `evaluate.training`: fails where a classifier would be trained."""
  assert not list(cases)
  return iter(())


def directory(out: Path, start: str = "") -> Path:
  """The one run directory below `out` whose name starts so."""
  (run,) = [d for d in out.iterdir() if d.is_dir() and d.name.startswith(start)]
  return run


def rows_of(run: Path) -> list[dict]:
  return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


def tasks_of(rows: list[dict]) -> list[tuple]:
  return [(r["method"], r["mode"], r["labels"], r["subset_seed"]) for r in rows]


class Page(HTMLParser):
  """What stands in a page: tags, (tag, attribute, value), and all text."""

  def __init__(self, text: str):
    super().__init__()
    self.tags, self.attributes, self.text = [], [], ""
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += [(tag, *pair) for pair in attrs]

  def handle_data(self, data):
    self.text += data


def seen_by_browser(page: Path, script: str, profile: Path) -> object:
  """What a script at the end of the page leaves, as JSON, in document.body.dataset.seen."""
  assert BROWSER
  page.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
  arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
  done = subprocess.run([BROWSER, *arguments, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
  seen = re.search(r'data-seen="([^"]*)"', done.stdout)
  assert seen, done.stderr[-500:]
  return json.loads(html.unescape(seen[1]))
