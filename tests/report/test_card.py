"""The card of an exported model: its YAML is read again, and its numbers are those of the rows."""

import yaml
from report_rows import FROZEN, SCRATCH, rows

from sslx import report
from sslx.report import card

FILES = ["model.onnx", "model.safetensors", "model.stablehlo"]
ROWS = [
  {**row, "dataset": "folder:/home/ada/photos"} for row in rows(scratch=SCRATCH, frozen=FROZEN) + rows(20, frozen=[0.5])
]


def facts(**about):
  told = {"dataset": "folder:/home/ada/photos", "place": "/home/ada/photos", "method": "denoising", "encoder": "cnn",
          "subset_seed": 1, "versions": {"jax": "1.2"}, **about}  # fmt: skip
  return {
    "input": {"x": {"dtype": "uint8", "shape": [None, 28, 32, 3]}},
    "outputs": {
      "answers": {"dtype": "float32", "shape": [None, 2]},
      "probabilities": {"dtype": "float32", "shape": [None, 2]},
    },
    "modality": "image", "task": "classification", "names": ["cat: big", "dog | small"], "mode": "frozen",
    "reads": "pretrained", "trains_encoder": False, "temperature": 1.5, "labels": 100, "parameters": 1234,
    "about": told,
  }  # fmt: skip


def front(text: str) -> dict:
  empty, top, _ = text.split("---\n", 2)
  assert not empty
  return yaml.safe_load(top)


def test_what_programs_read_is_yaml_with_the_numbers_of_the_rows():
  top = front(card.text(facts(), FILES, ROWS))
  assert "license" not in top
  assert (top["library_name"], top["pipeline_tag"]) == ("sslx", "image-classification")
  assert {"self-supervised-learning", "denoising"} <= set(top["tags"])
  assert top["metrics"] == ["accuracy"]
  (model,) = top["model-index"]
  (result,) = model["results"]
  assert result["task"]["type"] == "image-classification"
  assert result["dataset"] == {"name": "photos (folder)", "type": "photos-folder", "split": "test"}
  (metric,) = result["metrics"]
  assert metric["type"] == "accuracy"
  assert metric["value"] == sum(FROZEN) / 3  # of 100 labels, not of 20, and not of scratch


def test_what_people_read_has_the_numbers_of_the_rows_and_no_folder_of_theirs():
  text = card.text(facts(), FILES, ROWS)
  assert "/home/ada" not in text
  assert "This very model, of one of these draws: 84.0%." in text  # of subset 1
  table = report.results_table(report.summarise([{**row, "dataset": "photos (folder)"} for row in ROWS]))
  assert report.markdown(table.cells) in text
  assert "1,234 parameters" in text
  assert "learnt from 100 labels" in text
  assert "uint8 [N, 28, 32, 3]" in text
  assert "cat: big, dog | small" in text
  for file in FILES:
    assert f"`{file}`\n\n```python" in text


def test_only_what_is_there_is_told():
  text = card.text({**facts(), "about": {}, "temperature": 1.0}, ["model.onnx"])
  top = front(text)
  assert "model-index" not in top
  assert "metrics" not in top
  assert "comes without results" in text
  assert "not calibrated" in text
  assert "stablehlo" not in text.partition("How to load it")[2]
  assert "None" not in text.replace("model.run(None", "")


def test_what_the_model_says_of_itself_is_told():
  text = card.text(facts(score_told="Accuracy 83.0% by angels.", calibration_told="Temperature 1.5."), FILES, ROWS)
  assert "\n\nAccuracy 83.0% by angels.\n\n" in text
  assert "\n\nConfidences: Temperature 1.5.\n\n" in text


def test_smoke_says_that_its_numbers_mean_nothing():
  assert "numbers mean nothing" in card.text(facts(), FILES, [{**row, "flags": {"smoke": True}} for row in ROWS])
  assert "numbers mean nothing" in card.text(facts(smoke=True), FILES)
  assert "numbers mean nothing" not in card.text(facts(), FILES, ROWS)


def test_texts_of_others_cannot_leave_their_place():
  text = card.text(facts(method="x\n---\n# y\x1b[2J", dataset='a"b: c\n- d'), FILES)
  assert "\x1b" not in text
  top = front(text)
  assert top["library_name"] == "sslx"
  assert "\n# y" not in text


def test_regression_and_boxes_have_names_of_their_own():
  score = {"name": "R2", "unit": "", "difference": "", "factor": 1.0, "higher_is_better": True}
  told = [{**row, "score": score, "test_R2": row["test_accuracy"]} for row in ROWS]
  top = front(card.text({**facts(), "task": "regression"}, FILES, told))
  assert "pipeline_tag" not in top  # hubs have no name for it
  assert top["model-index"][0]["results"][0]["task"]["type"] == "image-regression"
  assert top["metrics"] == ["r_squared"]


def test_only_what_was_pretrained_is_said_to_be():
  assert "pretrained by denoising" in card.text(facts(), FILES)
  for reads, trains, said in (("raw", False, "reads the signal itself"), ("random", True, "started at random weights")):
    text = card.text({**facts(), "reads": reads, "trains_encoder": trains}, FILES)
    assert said in text
    assert "pretrained by" not in text
