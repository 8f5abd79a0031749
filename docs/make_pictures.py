"""Copies what methods see and make, and the figures of comparisons, from runs on MNIST, into docs/pictures/NAME.png.

    python docs/make_pictures.py runs            # every run below the folder

Of several runs of a method the one with the most epochs counts, then the newest; of a comparison, the newest. A picture
gets the colours that it needs and is made smaller until it takes less than 60 kB.
"""

import json
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent / "pictures"
LIMIT = 60_000  # bytes
DATASET = "mnist"
WIDTH = 900  # pixels, at most
COMPARISONS = {"compare": "methods", "freezing": "blocks", "data_efficiency": "labels"}  # experiment -> its figure


def newest(runs: Path) -> dict[str, Path]:
  """{method or experiment: its picture} of the runs below a folder; those of --smoke are left out."""
  known: dict[str, tuple[float, float, Path]] = {}
  for path in runs.rglob("config.json"):
    config = json.loads(path.read_text())
    name = config.get("experiment") or config.get("method")
    picture = path.parent / f"figures/{COMPARISONS.get(name, 'pretext')}.png"
    if config.get("dataset") != DATASET or config.get("smoke") or not picture.exists():
      continue
    candidate = (config.get("epochs") or 0.0, picture.stat().st_mtime, picture)
    known[name] = max(candidate, known.get(name, candidate))
  return {name: known[name][2] for name in sorted(known)}


def shrunk(picture: Path) -> bytes:
  """A PNG of less than LIMIT bytes."""
  with Image.open(picture) as image:
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
  scale = min(1.0, WIDTH / flat.width)
  while True:
    size = max(1, round(scale * flat.width)), max(1, round(scale * flat.height))
    small = flat.resize(size, Image.Resampling.LANCZOS).quantize(64)
    out = BytesIO()
    small.save(out, "PNG", optimize=True)
    if out.tell() < LIMIT:
      return out.getvalue()
    scale *= min(0.95, (LIMIT / out.tell()) ** 0.5)


def main(runs: Path) -> None:
  """Writes the pictures of the runs below a folder, and says which."""
  pictures = newest(runs)
  if not pictures:
    raise SystemExit(f"error: {runs}: no run on {DATASET} with figures/pretext.png below it; pretrain on it first.")
  FOLDER.mkdir(exist_ok=True)
  for name, picture in pictures.items():
    data = shrunk(picture)
    (FOLDER / f"{name}.png").write_bytes(data)
    print(f"{name}: {picture.parents[1].name}, {len(data):,} bytes")


if __name__ == "__main__":
  if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    raise SystemExit(__doc__)
  main(Path(sys.argv[1]))
