"""The benchmarks measure what they say: turns, medians, ratios; models of the same size. No speed is tested."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import common, tables, train_worker

ROWS = [
  {"framework": "sslx", "images_per_second": 300.0, "spread": [250.0, 310.0], "repeats": 3},
  {"framework": "PyTorch", "images_per_second": 200.0, "spread": [150.0, 210.0], "repeats": 3, "flops": 2_000_000},
  {"framework": "Keras", "images_per_second": 150.0, "spread": [140.0, 160.0], "repeats": 3},
  {"framework": "Keras, our allocator", "images_per_second": 400.0, "spread": [390.0, 410.0], "repeats": 3},
]
MACHINE = {"cpu": "a processor", "cores": 2, "memory_gib": 24, "versions": {"python": "3.11", "jax": "0.10"}}


def test_tables_compare_with_the_fastest_peer_of_each_kind(tmp_path, monkeypatch):
  rows = [{"model": "rotnet", "batch_size": 10, **row} for row in ROWS]
  result = {"benchmark": "train_step", "machine": MACHINE, "matmul_flops_per_second": 1e8, "rows": rows}
  (tmp_path / "train_step.json").write_text(json.dumps(result))
  (tmp_path / "README.md").write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
  monkeypatch.setattr(tables, "__file__", str(tmp_path / "tables.py"))
  tables.main([str(tmp_path / "train_step.json")])
  text = (tmp_path / "README.md").read_text()
  assert text.startswith("before\n")
  assert text.endswith("after\n")
  assert "old" not in text
  assert "1.50x the fastest peer with default settings (PyTorch)" in text
  assert "0.75x the fastest peer with our allocator (Keras)" in text
  # floor: 1e8 / 2e6 = 50 batches of 10 a second
  assert "| sslx " in text
  assert " 60 % " in text
  assert "100 GFLOP/s" not in text
  assert "a processor, 2 cores, 24 GiB; python 3.11, jax 0.10" in text


def test_every_model_of_ours_is_one_of_the_benchmarks():
  from benchmarks import train_step

  assert {model for model, _ in train_step.MODELS} == set(train_worker.SSLX)


def test_workers_that_cannot_work_are_named_and_left_out(capsys):
  environment = {"PYTHONPATH": ":".join(sys.path)}
  rows = common.compare(
    {
      "json": ("json.tool", ["--help"], environment),  # answers nothing that a worker would
      "missing": ("benchmarks.no_such_module", [], environment),
      "us": ("benchmarks.train_worker", ["sslx", "rotnet", "2"], environment),
    },
    repeats=2,
    seconds=0.01,
  )
  assert [row["framework"] for row in rows] == ["us"]
  (row,) = rows
  assert row["repeats"] == 2
  assert row["spread"][0] <= row["images_per_second"] <= row["spread"][1]
  assert row["first_loss"] == pytest.approx(2.302585, abs=1e-4)  # a zero head: log 10
  assert "missing: left out" in capsys.readouterr().out


@pytest.mark.parametrize("model", list(train_worker.SSLX))
def test_peers_have_as_many_parameters(model):
  torch_models = pytest.importorskip("benchmarks.torch_models", reason="needs the extra bench", exc_type=ImportError)
  import jax

  encoder, method, hp, features = train_worker.SSLX[model]
  images, labels = common.random_images(2, *((32, 3) if model == "resnet18" else (28, 1)))
  built = common.pretext(method, encoder, features, **hp)
  batch = {"x": images.astype("float32"), "y": labels}
  params, _ = jax.eval_shape(lambda: built.init(jax.random.key(0), batch))
  ours = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert ours == sum(p.numel() for p in torch_models.MODELS[model]().parameters())


@pytest.mark.parametrize("name", ["augment", "low_label", "memory", "simclr", "train_step", "words"])
def test_help_tells_what_is_measured(name):
  command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
  environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
  assert f"./launch.sh benchmarks.{name}" in done.stdout
  assert "--json" in done.stdout


@pytest.mark.parametrize("name", ["augment", "simclr"])
def test_our_own_worker_works(name):
  arguments = ["--worker=sslx", "--batch_size=4"]
  rows = common.compare({"us": (f"benchmarks.{name}", arguments, {"PYTHONPATH": ":".join(sys.path)})}, 1, 0.01)
  assert [row["framework"] for row in rows] == ["us"]
  assert rows[0]["images_per_second"] > 0


def test_the_main_job_is_timed_by_phase(toy_npz, tmp_path):
  job = [f"--dataset={toy_npz}", "--smoke", "--encoder=mlp:widths=4,code=3", "--labels=12", "--seeds=1"]
  command = [sys.executable, "-m", "benchmarks.low_label", "--repeats=1", f"--json={tmp_path / 'result.json'}", "--"]
  environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
  subprocess.run([*command, *job, "--modes=frozen"], env=environment, capture_output=True, check=True)
  result = json.loads((tmp_path / "result.json").read_text())
  assert result["benchmark"] == "low_label"
  (row,) = result["rows"]
  assert row["phases"].keys() == {"start-up", "pretraining", "training on labels", "testing", "keeping", "report"}
  assert row["whole command"] > 0
  assert row["peak_mib"] > 50


def test_words_are_compared_within_a_seed():
  def row(framework, seed, speed, score):
    total = 100 / speed
    return {
      "method": "cbow", "framework": framework, "seed": seed, "words_per_second": speed, "total": total,
      "scores": {"wordsim": score},
    }  # fmt: skip

  rows = [
    row("gensim", 0, 100.0, 0.3),
    row("sslx", 0, 150.0, 0.4),
    row("sslx", 1, 80.0, 0.5),
    row("gensim", 1, 40.0, 0.2),
  ]
  text = "\n".join(tables.words({"rows": rows}))
  assert ["cbow", "sslx", "115", "[80, 150]"] in [
    [cell.strip() for cell in line.split("|")][1:5] for line in text.splitlines()
  ]
  assert "1.75 [1.5, 2] times gensim's words a second, 1.75 [1.5, 2] times with" in text
  assert "on average wordsim +0.2." in text


def test_sslx_trains_vectors_that_gensim_reads(tmp_path):
  """In word2vec's text format: a line of sizes, then a line for each word."""
  (tmp_path / "text.txt").write_text("one two three four\n" * 40)
  job = {
    "work": "train", "text": f"{tmp_path / 'text.txt'}", "vectors": f"{tmp_path / 'vectors.txt'}", "method": "cbow",
    "seed": 0, "passes": 1, "dimensions": 4,
  }  # fmt: skip
  command = [sys.executable, "-m", "benchmarks.words", f"--worker={json.dumps(job)}"]
  environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
  assert json.loads(done.stdout.splitlines()[-1])["training"] > 0
  sizes, *lines = (tmp_path / "vectors.txt").read_text().splitlines()
  assert sizes == "4 4"
  assert sorted(line.split()[0] for line in lines) == ["four", "one", "three", "two"]
  assert all(len(line.split()) == 5 for line in lines)
