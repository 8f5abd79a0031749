"""experiments.autoencoders: the pairs of output and loss, and the levels of
corruption, each pretrained with its own."""

from helpers import call, directory, rows_of

from experiments import autoencoders

TINY = ["--encoder=conv:widths=4-6", "--seeds=2", "--labels=12", "--modes=frozen", "--smoke"]


def test_autoencoders_parts(toy_npz, tmp_path, capsys):
  arguments = [f"--dataset={toy_npz}", f"--out={tmp_path}", *TINY]
  assert call("autoencoders", "--parts=outputs,corruption", *arguments) == 0
  rows = rows_of(directory(tmp_path, "autoencoders-outputs")) + rows_of(directory(tmp_path, "autoencoders-corruption"))
  levels = {r["method"]: r["pretraining"]["hp"]["level"] for r in rows if r["method"].startswith("level")}
  assert levels == {f"level {level:g}": level for level in autoencoders.LEVELS}
  pairs = {(hp["output"], hp["loss"]) for r in rows if " + " in r["method"] for hp in [r["pretraining"]["hp"]]}
  assert pairs == {("sigmoid", "bce"), ("sigmoid", "mse"), ("linear", "mse")}
  assert call("autoencoders", "--parts=famly", *arguments) == 1
  assert "choose among family, outputs, corruption" in capsys.readouterr().err
