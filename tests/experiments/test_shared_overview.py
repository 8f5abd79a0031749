"""experiments.shared.overview: what the page of several tasks shows of each; and one pretraining for all of them."""

from pathlib import Path

import numpy as np
import pytest

from experiments.shared import cli, methods, overview, pictures
from experiments.shared.pages import Lead, Outcome, short_name
from sslx import nn
from sslx.data import Dataset, Split
from sslx.evaluation.bench import Case
from sslx.modalities import MODALITIES
from sslx.report.tables import Cells, Table
from sslx.tasks import TASKS
from sslx.types import Refusal


@pytest.fixture
def masks() -> Dataset:
  """60 training and 6 test images of noise, with masks of one class, and a number."""
  rng = np.random.default_rng(0)

  def split(n: int) -> Split:
    y = rng.integers(0, 2, (n, 8, 8)).astype(np.uint8)
    return Split(
      rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8), y, others={"regression": y.sum((1, 2))[:, None] * 1.0}
    )

  tasks = TASKS["segmentation"](("background", "thing")), TASKS["regression"](("area",))
  return Dataset("noise", MODALITIES["image"], tasks[0], split(60), split(6), others={"regression": tasks[1]})


def row(task, method: str, mode: str, labels: int, seed: int, **scores: float) -> dict:
  reads = "random" if mode in ("scratch", "random") else "pretrained"
  base = {"method": method, "dataset": "noise", "encoder": "e", "mode": mode, "labels": labels, "subset_seed": seed}
  told = {"score": task.score._asdict(), "reads": reads, "task": task.name}
  return {**base, **told, **{f"test_{name}": value for name, value in scores.items()}}


def outcome(task, answers: dict | None = None) -> Outcome:
  """Of two methods with 10 and 20 labels, of which `b` is the better one, and of the oracle with all 60."""
  means = {"none": 0.2, "a": 0.3, "b": 0.4}
  rows = [
    row(task, method, "scratch" if method == "none" else "frozen", n, seed, mIoU=mean + n / 1000, pixel_accuracy=0.9)
    for method, mean in means.items()
    for n in (10, 20)
    for seed in (0, 1)
  ]
  rows.append(row(task, "none", "scratch", 60, 0, mIoU=0.75, pixel_accuracy=0.95))
  return Outcome(rows, answers=answers or {})


def test_all_scores_and_the_oracle_stand_beside_the_tables(masks, tmp_path):
  lead = overview.extra(masks, tmp_path, outcome(masks.task))
  assert [table.title for table in lead.tables] == [
    "All scores, 10 labels", "All scores, 20 labels", "All scores, 60 labels"
  ]  # fmt: skip
  assert lead.tables[1].cells.rows == [
    ["scratch", "22.0", "90.0"],
    ["a frozen", "32.0", "90.0"],
    ["b frozen", "42.0", "90.0"],
  ]
  assert lead.tables[2].cells.rows == [["scratch", "75.0", "95.0"]]
  assert list(lead.sentences) == ["All 60 labels, from scratch (the oracle): mIoU 75.0%."]
  assert list(lead.figures) == []


def test_without_an_oracle_none_is_told(masks, tmp_path):
  without = outcome(masks.task)
  lead = overview.extra(masks, tmp_path, without._replace(rows=without.rows[:-1]))
  assert list(lead.sentences) == []
  assert len(lead.tables) == 2


def test_answers_are_drawn_of_scratch_and_of_the_best_frozen_encoder_with_the_most_labels(masks, tmp_path):
  """Not of the oracle, which has another budget, nor of the other methods; titles name the method."""
  cases = [Case(mode, n, 0) for mode in ("scratch", "frozen") for n in (10, 20, 60)]
  guesses = {}

  def answers(method: str, mode: str) -> dict[Case, pictures.Answers]:
    made = {
      case: pictures.Answers(np.full((6, 8, 8), len(guesses) % 2, np.uint8)) for case in cases if case.mode == mode
    }
    guesses[method] = made
    return made

  kept = {"none": answers("none", "scratch"), "a": answers("a", "frozen"), "b": answers("b", "frozen")}
  drawn = []
  with pytest.MonkeyPatch.context() as patch:
    draw = pictures.draw_predictions
    patch.setattr(
      pictures, "draw_predictions", lambda data, folder, found: drawn.append(found) or draw(data, folder, found)
    )
    lead = overview.extra(masks, tmp_path, outcome(masks.task, kept))
  assert [list(found) for found in drawn] == [[Case("scratch", 20, 0)], [Case("frozen", 20, 0)]]
  assert drawn[1][Case("frozen", 20, 0)] is guesses["b"][Case("frozen", 20, 0)]
  assert [figure.title for figure in lead.figures] == ["Masks, b (frozen)", "Masks, from scratch"]
  assert all(Path(figure.path).is_file() for figure in lead.figures)


def test_boundaries_are_scored_only_of_masks_and_where_they_are_asked_for(masks):
  answers = masks.test.targets()
  assert overview.further(masks, True)(answers) == {"test_boundary_F": 1.0}
  assert overview.further(masks, True)(0 * answers) == {"test_boundary_F": 0.0}
  assert overview.further(masks, False)(answers) == {}
  assert overview.further(masks.doing("regression"), True)(np.zeros((6, 1))) == {}


def test_a_section_leads_to_the_report_of_its_task(tmp_path):
  lead = Lead([Table("t", Cells(["a"], [["1"]]), "n")], [], [], ["s"])
  made = overview.section("segmentation", lead, tmp_path / "run/segmentation")
  assert made.title == "Segmentation"
  assert made.link.file == "segmentation/report.html"
  assert (made.tables, made.sentences, made.figures) == (lead.tables, ["s"], [])


# ---- one pretraining -------------------------------------------------------------------------------------------------


def test_a_variant_is_pretrained_once_and_read_as_each_task_does(masks, monkeypatch):
  asked = []

  def pretrain(variant, dataset, timings):
    asked.append((variant.title, dataset.task.name))
    if variant.method == "rotation":
      raise Refusal("--method=rotation: no")
    represent = nn.Representation(nn.build("conv:widths=4"), "flatten", {}, {}, dataset.modality.prepare)
    return methods.Pretrained({"method": variant.method}, represent, {}, Path("none.png"))

  monkeypatch.setattr(methods, "pretrain", pretrain)
  seen = []

  def main():
    once = methods.pretraining_once()
    for title in ("a", "b", "a"):
      for task in ("segmentation", "regression"):
        seen.append(once(methods.Variant(title, "denoise"), masks.doing(task), {}))
    for _ in range(2):  # what is refused is not taken for done
      with pytest.raises(Refusal):
        once(methods.Variant("c", "rotation"), masks, {})

  assert cli.run(main, "experiments.downstream", ["downstream"]) == 0
  assert asked == [("a", "segmentation"), ("b", "segmentation"), ("c", "segmentation"), ("c", "segmentation")]
  assert [made.represent.reading for made in seen] == ["maps4", "all:moments"] * 3


@pytest.mark.parametrize(
  ("name", "short"),
  [
    ("parquet:/data/photos/*.parquet", "photos"),
    ("webdataset:s3://bucket/tars/{train,val}-{0..9}.tar", "tars"),
    ("hf:owner/digits", "digits"),
    ("npz:/data/digits.npz", "digits"),
    ("scenes:one", "scenes:one"),
    ("mnist", "mnist"),
  ],
)
def test_a_data_set_is_called_by_its_file_or_folder(name, short):
  assert short_name(name) == short
