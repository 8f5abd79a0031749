"""The page on which a person labels: what it shows; clicks, keys and undo, in a browser;
the CSV that it saves, whatever the names are; and that a reload loses nothing."""

import base64
import csv
import io
import json

import numpy as np
import pytest
from helpers import BROWSER, Page, seen_by_browser
from PIL import Image

from sslx.report import labelling
from sslx.report.labelling import Item

browser = pytest.mark.skipif(BROWSER is None, reason="no browser")
NAMES = ["plain.jpg", 'a "b", c.png', "Äpfel/ü 雪.jpg", " space .png", "line\nbreak.png"]
CLASSES = ["cat", 'x, "y"', "Bär"]


def items(**more):
  picture = labelling.encoded(np.full((8, 8, 3), 128, np.uint8))
  return [Item(name, f"reason {i}", picture, **more) for i, name in enumerate(NAMES)]


def page_of(tmp_path, things=None, classes=CLASSES):
  return labelling.write_labelling(tmp_path / "labels.html", "T <b>", "S", things or items(), classes)


def read(text):
  return list(csv.reader(io.StringIO(text)))


SCRIPT = """
const key = (name) => document.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const buttons = () => [...document.querySelectorAll("#classes button")];
const click = (text) => buttons().find((button) => button.innerText.includes(text)).click();
const text = (id) => document.getElementById(id).textContent;
const leave = (seen) => { document.body.dataset.seen = JSON.stringify(seen); };
"""


def seen(page, script, profile):
  return seen_by_browser(page, SCRIPT + script, profile)


def test_it_needs_nothing_but_itself(tmp_path):
  page = Page(page_of(tmp_path).read_text())
  assert not [v for _, name, v in page.attributes if name in ("src", "href") and not v.startswith("data:")]
  assert "http" not in page.text.replace("http-equiv", "")
  assert "T <b>" in page.text


def test_what_is_kept_is_of_this_content(tmp_path):
  def key(*arguments):
    text = page_of(tmp_path, *arguments).read_text()
    return json.loads(text.split('id="model">')[1].split("</script>")[0])["key"]

  assert key() == key()
  others = key(items()[:4]), key(None, ["cat"]), key(items(given="cat"))
  assert len({key(), *others}) == 4


@pytest.mark.parametrize(("side", "kind"), [(32, "png"), (400, "jpeg")])
def test_pictures(side, kind):
  pixels = np.zeros((side, 2 * side, 3), np.uint8)
  pixels[:, side:] = (250, 5, 5)
  uri = labelling.encoded(pixels)
  assert uri.startswith(f"data:image/{kind};base64,")
  image = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)
  assert image.shape == ((32, 64, 3) if kind == "png" else (160, 320, 3))
  assert np.abs(image[5, -5] - (250, 5, 5)).max() < 8
  grey = labelling.encoded(np.ones((9, 9, 1), np.float32))
  assert np.asarray(Image.open(io.BytesIO(base64.b64decode(grey.partition(",")[2])))).tolist() == [[255] * 9] * 9


@browser
def test_nothing_is_chosen_before_a_person_chooses(tmp_path):
  page = page_of(tmp_path, items(suggested="cat", confidence=0.614))
  script = """
  const pressed = document.querySelectorAll("[aria-pressed=true]").length;
  leave([text("says"), text("csv"), text("count"), pressed]);
  """
  before = seen(page, script, tmp_path / "p")
  assert before == ["The model says cat, 61% sure.", "path,class\n", "0 of 5 labelled", 0]


@browser
def test_clicks_keys_and_undo(tmp_path):
  script = """
  const trace = [];
  key("1"); trace.push(text("count"), text("path"));
  key("0"); trace.push(text("count"), text("path"));
  click("Bär"); key("2"); key("Backspace"); trace.push(text("path"), text("csv"));
  key("3"); key("ArrowLeft"); key("ArrowLeft"); trace.push(text("path"));
  key("?");
  for (let i = 0; i < 5; i++) key("ArrowRight");
  trace.push(text("path"));
  key("z"); trace.push(text("count"));
  leave(trace);
  """
  got = seen(page_of(tmp_path), script, tmp_path / "p")
  assert got[0:2] == ["1 of 5 labelled", '2. a "b", c.png']
  assert got[2:4] == ["1 of 5 labelled, 1 skipped", "3. Äpfel/ü 雪.jpg"]
  assert got[4] == "4.  space .png"
  assert read(got[5]) == [["path", "class"], ["plain.jpg", "cat"], ["Äpfel/ü 雪.jpg", "Bär"]]
  assert got[6] == "3. Äpfel/ü 雪.jpg"
  assert got[7] == "5. line\nbreak.png"
  assert got[8] == "2 of 5 labelled, 2 skipped"  # the third one's class gave way; z is no class's key


@browser
def test_undo_brings_back_what_was_there(tmp_path):
  script = """
  const trace = [], left = () => key("ArrowLeft");
  key("1"); left(); key("2"); left(); key("0"); trace.push(text("csv"));
  for (let i = 0; i < 4; i++) { key("Backspace"); trace.push(text("csv")); }
  leave(trace);
  """
  got = [read(text)[1:] for text in seen(page_of(tmp_path), script, tmp_path / "p")]
  assert got == [[], [["plain.jpg", 'x, "y"']], [["plain.jpg", "cat"]], [], []]


@browser
def test_names_of_all_kinds_come_through_the_csv(tmp_path):
  script = """
  for (const name of ["1", "2", "3"]) key(name);
  document.getElementById("name").value = "  new, one ";
  document.getElementById("more").requestSubmit();
  key("4");
  leave([text("csv"), text("count")]);
  """
  got, count = seen(page_of(tmp_path), script, tmp_path / "p")
  classes = [*CLASSES, "new, one", "new, one"]
  assert read(got) == [["path", "class"], *map(list, zip(NAMES, classes, strict=True))]
  assert count == "5 of 5 labelled"


@browser
def test_earlier_labels_are_saved_again(tmp_path):
  earlier = {"old, 1.png": "cat", "plain.jpg": "cat"}
  page = labelling.write_labelling(tmp_path / "labels.html", "T", "S", items(), CLASSES, earlier)
  got, count = seen(page, 'key("3"); leave([text("csv"), text("count")]);', tmp_path / "p")
  assert read(got) == [["path", "class"], ["old, 1.png", "cat"], ["plain.jpg", "Bär"]]
  assert count == "1 of 5 labelled"


@browser
def test_a_reload_loses_nothing(tmp_path):
  page, profile = page_of(tmp_path), tmp_path / "p"
  text = page.read_text()
  script = 'key("2"); key("0"); key("3"); leave(text("csv"));'
  first = seen(page, script, profile)
  page.write_text(text)
  again = seen(page, 'const was = text("csv"); key("Backspace"); leave([was, text("csv"), text("path")]);', profile)
  assert again == [first, 'path,class\nplain.jpg,"x, ""y"""\n', "3. Äpfel/ü 雪.jpg"]
  other = page_of(tmp_path, items(given="cat"))
  assert seen(other, 'leave(text("csv"));', profile) == "path,class\n"


@browser
def test_the_file_that_is_saved_is_the_text_that_is_shown(tmp_path):
  script = """
  let saved;
  URL.createObjectURL = (blob) => { saved = blob; return "blob:x"; };
  const names = [];
  HTMLAnchorElement.prototype.click = function () { names.push(this.download); };
  key("1");
  document.getElementById("save").click();
  leave([names, saved.size === new Blob([text("csv")]).size, saved.type]);
  """
  assert seen(page_of(tmp_path), script, tmp_path / "p") == [["labels.csv"], True, "text/csv"]


@browser
def test_texts_sounds_and_given_labels(tmp_path):
  written = Item("a.txt", text="one <two>", given="cat", suggested="Bär", confidence=0.5)
  things = [written, Item("a.flac", sound="data:audio/flac;base64,AA==")]
  script = """
  const shown = () => ["picture", "sound", "words"].filter((id) => !document.getElementById(id).hidden);
  const first = [shown(), text("words"), text("says")];
  key("ArrowRight");
  leave([...first, shown(), text("says")]);
  """
  got = seen(page_of(tmp_path, things), script, tmp_path / "p")
  assert got == [["words"], "one <two>", "It is labelled cat. The model says Bär, 50% sure.", ["sound"], ""]


@browser
def test_many_classes_have_no_keys_left(tmp_path):
  classes = [f"class {i}" for i in range(40)]
  script = 'key("z"); click("class 39"); leave([text("csv"), document.querySelectorAll("#classes kbd").length]);'
  text, keys = seen(page_of(tmp_path, None, classes), script, tmp_path / "p")
  assert read(text)[1:] == [["plain.jpg", "class 34"], [NAMES[1], "class 39"]]
  assert keys == 35


@browser
def test_a_class_of_one_sign_has_its_own_key(tmp_path):
  page = page_of(tmp_path, None, ["0", "1", "2", "B", "b", "other"])
  script = """
  const told = [...document.querySelectorAll("#classes kbd")].map((each) => each.textContent);
  for (const name of ["1", "0", "b", "3", "4"]) key(name);
  leave([told, text("csv")]);
  """
  told, got = seen(page, script, tmp_path / "p")
  assert told == ["0", "1", "2", "b", "3", "4"]
  assert [row[1] for row in read(got)[1:]] == ["1", "0", "B", "b", "other"]
