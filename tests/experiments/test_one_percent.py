"""experiments.one_percent: pairing, resumption, black dots, a checkpoint in place of pretraining, bad input."""

import json
import re

import numpy as np
import pytest
from helpers import call, directory, rows_of

from experiments import readme_table
from experiments.one_percent import __main__ as one_percent
from experiments.one_percent import protocol, tables
from experiments.shared import cli
from sslx.report import pages_of_docs
from sslx.training.config import Config
from sslx.training.run import plan
from sslx.types import UserError

TINY = ["--encoder=mlp:widths=12-6,code=4", "--labels=12", "--seeds=2", "--modes=frozen", "--watch=0",
        "--finetune_learning_rates=1e-3,1e-2"]  # fmt: skip


def test_the_tuned_sides_have_equal_budgets():
  from sslx.tasks.classification import L2_GRID
  from sslx.tasks.linear import SCALINGS

  assert len(protocol.RATES) == len(L2_GRID) * len(SCALINGS)
  assert "the budgets are equal" in tables.budgets(len(protocol.RATES))
  assert "NOT equal" in tables.budgets(3)


def test_what_is_trained_on_is_exactly_the_fraction(toy):
  for arguments, trained, watched, batch in (
    (["--train_fraction=0.8"], 192, 21, None),
    (["--train_fraction=0.5", "--watch=7", "--batch_fraction=0.1"], 120, 7, 12),
    (["--train_fraction=1"], 240, 0, None),
  ):
    made = []
    read = lambda made=made: made.append(protocol.shortened(toy))  # noqa: E731
    assert cli.run(read, one_percent.__name__, ["x", *arguments]) == 0
    (part,) = made
    assert part.settings == {"watch": watched} | ({"batch_size": batch} if batch else {})
    config = Config(method="autoencode", encoder="mlp:widths=4,code=2", **part.settings)
    planned = plan(config, part.dataset, "flatten")
    assert (len(planned.data["x"]), len(part.dataset.train) - trained) == (trained, watched)


@pytest.fixture(scope="module")
def finished(toy_npz, tmp_path_factory):
  """The experiment, once: (--out, its arguments)."""
  out = tmp_path_factory.mktemp("runs")
  arguments = [f"--dataset={toy_npz}", f"--out={out}", "--smoke", *TINY]
  assert call("one_percent", *arguments) == 0
  return out, arguments


def test_one_percent_pairs_pretraining_seeds_with_subsets(finished):
  rows = rows_of(directory(finished[0], "one_percent"))
  modes = ("raw", "random", "frozen", "scratch")
  assert [(r["mode"], r["subset_seed"]) for r in rows] == 2 * [(m, s) for s in (0, 1) for m in modes]
  for row in rows:
    assert row["seed"] == row["subset_seed"] == row["pretraining"]["seed"]
    assert row["pretraining"]["examples"] - row["pretraining"]["watch"] == 192
  fixed, tuned = rows[:8], rows[8:]
  assert {(tuple(r["settings"]["learning_rates"]), r["settings"]["head"]) for r in fixed} == {((1e-3,), "gradient")}
  assert {(tuple(r["settings"]["learning_rates"]), r["settings"]["head"]) for r in tuned} == {
    ((1e-3, 1e-2), "logistic")
  }
  assert {r["mode"] for r in fixed if "learning_rate" in r["chosen"]} == {"random", "scratch", "frozen"}
  assert {r["mode"] for r in tuned if "learning_rate" in r["chosen"]} == {"scratch"}
  assert len({r["parameters_total"] for r in rows if r["mode"] != "raw"}) == 1
  trainable = {r["parameters_trainable"] for r in rows if r["mode"] == "frozen"}
  assert trainable == {4 * 3 + 3}  # one new layer


def test_one_percent_reports(finished):
  run = directory(finished[0], "one_percent")
  page, tables = (run / "report.html").read_text(), (run / "tables.md").read_text()
  for text in ("As published", "Both tuned", "Black dots", "linear + mse, relu instead", "sigmoid + bce, sigmoid units",
               "dead units, by layer", "Published, one run: scratch 81.45%, frozen 87.15%", "NOT equal"):  # fmt: skip
    assert text in page, text
    assert text in tables, text
  assert "+5.70 points." in tables
  assert "a pretraining run of its own" in page
  assert {p.stem for p in (run / "figures").iterdir()} == {
    "accuracy", "black_dots", "predictions_scratch", "predictions_frozen", "confusion_scratch", "confusion_frozen",
  }  # fmt: skip
  assert page.count("data:image/png") == 7  # without accuracy.png; and the loss and pictures of pretraining
  of = re.search(r"A relu output: (\d+) of the (\d+) pixels", tables)
  assert of
  assert 0 < int(of[1]) < int(of[2]) <= 144


def test_the_same_command_again_trains_nothing_and_a_lost_row_only_itself(finished, capfd):
  out, arguments = finished
  path = directory(out, "one_percent") / "results.jsonl"
  before = path.read_text()
  capfd.readouterr()
  assert call("one_percent", *arguments) == 0
  assert path.read_text() == before
  assert not re.search("subset|0 s left", capfd.readouterr().err)
  lines = before.splitlines()
  path.write_text("\n".join(lines[:-1]) + '\n{"a broken li')
  assert call("one_percent", *arguments, "--noblack_dots") == 0
  after = [json.loads(line) for line in path.read_text().splitlines()]
  changing = ("seconds", "command")
  for row, other in zip(after, map(json.loads, lines), strict=True):
    assert {n: v for n, v in row.items() if n not in changing} == {n: v for n, v in other.items() if n not in changing}


def test_a_checkpoint_in_place_of_pretraining(finished, toy_npz, tmp_path, capfd):
  out = finished[0]
  made = next(
    run for run in out.iterdir()
    if run.name.startswith("autoencode-") and json.loads((run / "config.json").read_text())["seed"] == 1
  )  # fmt: skip
  given = [f"--checkpoint={made}", f"--out={tmp_path}", "--seeds=2", "--labels=12", "--modes=frozen", "--smoke"]
  assert call("one_percent", *given, "--finetune_learning_rates=1e-3") == 0
  assert "pretraining autoencode" not in capfd.readouterr().err
  rows = rows_of(directory(tmp_path, "one_percent"))
  assert {(r["seed"], r["encoder"], r["pretraining"]["seed"]) for r in rows} == {(1, "mlp:widths=12-6,code=4", 1)}
  tables = (directory(tmp_path, "one_percent") / "tables.md").read_text()
  assert "| autoencode " in tables
  mine = [r["test_accuracy"] for r in rows if (r["mode"], r["subset_seed"]) == ("frozen", 1)]
  theirs = [r["test_accuracy"] for r in rows_of(directory(out, "one_percent"))
            if (r["mode"], r["subset_seed"]) == ("frozen", 1)]  # fmt: skip
  assert mine == theirs


BAD = [
  (["--train_fraction=1.5"], r"--train_fraction=1.5: must be above 0 and at most 1"),
  (["--batch_fraction=0"], r"--batch_fraction=0: must be above 0"),
  (["--batch_fraction=0.1", "--batch_size=5"], r"--batch_size: give either"),
  (["--fixed_learning_rate=0"], r"--fixed_learning_rate=0.0: must be positive"),
  (["--checkpoint=/nowhere"], r"--checkpoint=/nowhere: no such folder"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line(arguments, message, toy_npz, tmp_path, capsys):
  assert call("one_percent", f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke", *arguments) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert re.search(message, line), line
  assert not list(tmp_path.glob("*/checkpoints"))


def test_help(capsys):
  assert call("one_percent", "--help=all") == 0
  text = capsys.readouterr().out
  for part in ("./launch.sh one_percent", "Published", "--flagfile", "--labels"):
    assert part in text


def test_the_overview_has_published_figures_beside_what_the_rows_say(finished, tmp_path, monkeypatch):
  run = directory(finished[0], "one_percent")
  text = pages_of_docs.overview([run], readme_table.published())
  lines = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
  table = {tuple(line[:3]): line[3:] for line in lines}
  labels = f"{rows_of(run)[0]['labels']:,}"
  assert table["one_percent", "published, one run", labels] == ["81.45", "87.15", "+5.70", ""]
  fixed = [r for r in rows_of(run) if r["settings"]["head"] == "gradient"]
  for mode, cell in zip(("scratch", "frozen"), table["one_percent", tables.FIXED, labels][:2], strict=True):
    accuracies = [100 * r["test_accuracy"] for r in fixed if r["mode"] == mode]
    assert len(accuracies) == 2
    assert cell == f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}"
  monkeypatch.setattr(readme_table, "ROOT", tmp_path)
  (tmp_path / "page.md").write_text("# A\n<!-- overview -->\nold\n<!-- /overview -->\n<!-- results -->kept\n")
  readme_table.main([run], "page.md", "overview")
  text = (tmp_path / "page.md").read_text()
  assert "old" not in text
  assert text.count("published, one run") == 1
  assert text.endswith("<!-- /overview -->\n<!-- results -->kept\n")
  with pytest.raises(UserError, match=r"no results\.jsonl and summary\.jsonl"):
    pages_of_docs.overview([tmp_path], {})
