"""experiments.blocks: every block of a checkpoint is probed, beside the same block of a random encoder."""

from helpers import call, directory, rows_of, tasks_of


def test_blocks_are_probed_one_by_one(toy_npz, tmp_path, capsys):
  given = [f"--dataset={toy_npz}", f"--out={tmp_path}", "--smoke"]
  assert call("pretrain", "--method=rotation", "--encoder=conv:widths=4-6,code=5", *given) == 0
  given += [f"--checkpoint={directory(tmp_path, 'rotation')}", "--labels=12", "--seeds=2", "--modes=frozen,knn:3"]
  assert call("blocks", *given) == 0
  run = directory(tmp_path, "blocks")
  rows = rows_of(run)
  names, modes = ("block1", "block2", "code"), ("random", "frozen", "knn:3")
  assert tasks_of(rows) == [(block, mode, 12, s) for block in names for mode in modes for s in (0, 1)]
  heads = {r["method"]: r["parameters_trainable"] for r in rows if r["mode"] == "frozen"}
  assert heads == {"block1": 3 * (6 * 6 * 4 + 1), "block2": 3 * (3 * 3 * 6 + 1), "code": 3 * (5 + 1)}
  table = (run / "tables.md").read_text().splitlines()
  assert [line.split("|")[1].strip() for line in table if line.startswith("| ")][:4] == ["method", *names]
  assert call("blocks", *given) == 0
  assert rows_of(run) == rows
  assert call("blocks", *given, "--features=pool") == 0  # beside the former, not instead
  assert len(rows_of(run)) == 2 * len(rows)
  capsys.readouterr()
  assert call("blocks", *given, "--modes=full") == 1
  assert "--modes=full: trains the encoder" in capsys.readouterr().err
