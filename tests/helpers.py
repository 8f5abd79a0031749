"""What the tests of several experiments share: finding a run and its rows, reading a page, opening it in a browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def directory(out: Path, start: str) -> Path:
  """The one run directory below `out` whose name starts so."""
  (found,) = [d for d in out.iterdir() if d.name.startswith(start)]
  return found


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
  found = re.search(r'data-seen="([^"]*)"', done.stdout)
  assert found, done.stderr[-500:]
  return json.loads(html.unescape(found[1]))
