"""The card of an exported model: README.md in the form of model hubs, made of what is known of it, and of rows.

Above stands its metadata in YAML, as https://github.com/huggingface/hub-docs/blob/main/modelcard.md has it; below it
what a person reads. Nothing is told that is not in the model or in the rows of results of its run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sslx.report import sentences, statistics, tables
from sslx.report.intervals import t_interval
from sslx.report.records import any_smoke
from sslx.report.statistics import Entry
from sslx.types import visible

Facts = Mapping[str, Any]  # what `sslx.exported.description` gives

PIPELINES = {  # (modality, task) -> what hubs call it, where they have a name for it
  ("image", "classification"): "image-classification",
  ("image", "multilabel"): "image-classification",
  ("image", "segmentation"): "image-segmentation",
  ("image", "detection"): "object-detection",
  ("sound", "classification"): "audio-classification",
  ("text", "classification"): "text-classification",
  ("video", "classification"): "video-classification",
}
METRICS = {"mIoU": "mean_iou", "R2": "r_squared"}  # what hubs call our scores, where they have another name
THINGS = {"image": "images", "sound": "recordings", "text": "texts", "video": "clips"}
MEANINGS = {
  "uint8": "channels last, 0 to 255",
  "int16": "one channel, -32768 behind the end of a recording that is shorter",
  "int32": "ids of words: `first_id` of card.json for the first of its `words`, and so on; 0 behind the end of a text",
}
SNIPPETS = {
  "model.json": """\
import sslx

model = sslx.load("FOLDER")
predictions = sslx.predict(model, x)""",
  "model.stablehlo": """\
import jax
from jax import export

model = export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
outputs = jax.jit(model.call)(x)  # OUTPUTS""",
  "model.safetensors": """\
import json

from safetensors import safe_open

with safe_open("model.safetensors", "np") as file:
  arrays = {name: file.get_tensor(name) for name in file.keys()}
  rest = json.loads(file.metadata()["sslx"])  # encoder, task, classes and all else that is no array""",
  "model.onnx": """\
import onnxruntime

model = onnxruntime.InferenceSession("model.onnx")
outputs = dict(zip([each.name for each in model.get_outputs()], model.run(None, {"x": x})))  # OUTPUTS""",
}


def text(facts: Facts, files: Sequence[str], rows: Iterable[Mapping[str, Any]] = ()) -> str:
  """README.md of a model in these files.

  rows: of its run's results.jsonl, with those of other modes and numbers of labels, which stand in its table.
  """
  about = facts["about"]
  rows = [{**row, "dataset": named(str(row.get("dataset", "")))} for row in rows]
  summary = statistics.summarise(rows)
  entry = _of_model(facts, summary)
  parts = [
    f"---\n{_front(facts, entry)}---\n\n# {_name(facts)}",
    _what(facts),
    f"## How good it is\n\n{_score(facts, entry, summary, any_smoke(rows))}",
    f"## How to load it\n\n{_loading(facts, files)}",
    f"## How it was made\n\n{_making(about)}",
  ]
  return visible_lines("\n\n".join(part for part in parts if part) + "\n")


def visible_lines(text: str) -> str:
  """A text of several lines without characters that do not show themselves."""
  return "\n".join(map(visible, text.split("\n")))


def named(dataset: str) -> str:
  """A data set's name without the folders that lead to it: `photos (folder)` of folder:/home/me/photos."""
  kind, colon, place = dataset.partition(":")
  return f"{PurePath(place).name} ({kind})" if colon else dataset


def _of_model(facts: Facts, summary: Sequence[Entry]) -> Entry | None:
  """The line of the table that the model is of."""
  about = facts["about"]
  asked = {"mode": facts["mode"], "labels": facts["labels"], "method": about.get("method")}
  asked = {name: value for name, value in asked.items() if value is not None}
  return next((entry for entry in summary if all(getattr(entry, k) == v for k, v in asked.items())), None)


def _name(facts: Facts) -> str:
  about = facts["about"]
  made = about.get("method") or facts["mode"]
  return f"{made} on {named(about['dataset'])}" if about.get("dataset") else str(made)


# ---- what programs read ----------------------------------------------------------------------------------------------


def _front(facts: Facts, entry: Entry | None) -> str:
  about, task, modality = facts["about"], facts["task"], facts["modality"]
  pipeline = PIPELINES.get((modality, task))
  tags = ["self-supervised-learning", "jax", modality, task, *filter(None, [about.get("method")])]
  front: dict[str, Any] = {"library_name": "sslx", "tags": list(dict.fromkeys(tags))}
  front |= {"pipeline_tag": pipeline} if pipeline else {}
  if entry is not None:
    score = METRICS.get(entry.score.name, entry.score.name)
    result = {
      "task": {"type": pipeline or f"{modality}-{task}"},
      "dataset": {"name": visible(entry.dataset), "type": _id(entry.dataset), "split": "test"},
      "metrics": [{"type": score, "name": _measured(entry), "value": entry.mean}],
    }
    front |= {"metrics": [score], "model-index": [{"name": _name(facts), "results": [result]}]}
  import yaml

  license = "# license: apache-2.0  (yours to choose; that of the data that it learnt from may bind it)\n"
  return license + yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)


def _id(dataset: str) -> str:
  """What a hub takes for the id of a data set."""
  return re.sub(r"[^\w.-]+", "-", dataset).strip("-") or "unnamed"


def _measured(entry: Entry) -> str:
  subsets = f", the mean over {entry.n} draws of the labels" if entry.n > 1 else ""
  return f"test {entry.score.name}, {statistics.labels_text(entry.labels)}{subsets}"


# ---- what people read ------------------------------------------------------------------------------------------------


def _what(facts: Facts) -> str:
  about, modality, task = facts["about"], facts["modality"], facts["task"]
  encoder = f" {about['encoder']}" if about.get("encoder") else ""
  told = f"An encoder{encoder} with a head for {task} of {THINGS[modality]}, {facts['parameters']:,} parameters in all."
  if about.get("method"):
    told += f" The encoder was pretrained without labels by {about['method']}."
  mode = f" The mode is {facts['mode']}." if facts.get("mode") else ""
  learnt = f"{task.capitalize()} was learnt from {facts['labels']:,} labels.{mode}"
  names = (
    f"{'Numbers' if task == 'regression' else 'Classes'}, in the order of the outputs: {', '.join(facts['names'])}."
  )
  return "\n\n".join([told, learnt, names])


def _score(facts: Facts, entry: Entry | None, summary: Sequence[Entry], smoke: bool) -> str:
  lines = []
  if smoke:
    lines.append("The run was made with --smoke, to try things out: its numbers mean nothing.")
  if entry is None:
    lines.append("Nothing is known of it: it comes with no results.")
  else:
    low, high = t_interval(entry.values)
    told = f"{statistics.title(entry.score)} on the test split: {statistics.quantity(entry.score, entry.mean)}"
    if low is not None and high is not None:
      told += f", 95% interval [{statistics.number(entry.score, low)}, {statistics.number(entry.score, high)}]"
      told += f" of the mean over {entry.n} draws of the labels; this model is of one of them"
    tested = "" if entry.test_examples is None else f" Measured on {entry.test_examples:,} test examples."
    lines.append(f"{told}.{tested}")
  lines += _calibration(facts)
  if summary:
    answers = sentences.answer(summary)
    lines += [answer.text for answer in answers]
    lines.append(tables.titled([tables.results_table(summary)]).strip())
    lines += sentences.caveats(summary)
  return "\n\n".join(lines)


def _calibration(facts: Facts) -> list[str]:
  if facts["task"] not in ("classification", "multilabel"):
    return []
  if facts["temperature"] == 1.0:
    return ["Its probabilities are not calibrated: they may be surer, or less sure, than they are right."]
  return [f"Its probabilities are calibrated: logits are divided by the temperature {facts['temperature']:.3g}."]


def _loading(facts: Facts, files: Sequence[str]) -> str:
  (name, x), outputs = *facts["input"].items(), ", ".join(facts["outputs"])
  shape = ", ".join(["N", *map(str, x["shape"][1:])])
  rate = f", {facts['sample_rate']} samples a second" if facts.get("sample_rate") else ""
  told = f"The input `{name}` is {x['dtype']} [{shape}]: {MEANINGS[x['dtype']]}{rate}."
  parts = [
    f"`{file}`\n\n```python\n{SNIPPETS[file].replace('OUTPUTS', outputs)}\n```" for file in SNIPPETS if file in files
  ]
  each = [
    f"- `{name}`: {out['dtype']} [{', '.join(['N', *map(str, out['shape'][1:])])}]"
    for name, out in facts["outputs"].items()
  ]
  return "\n\n".join([told, "\n".join(each), *parts])


def _making(about: Mapping[str, Any]) -> str:
  """A table of what is known, as far as it is one value a line."""
  told = {name: value for name, value in about.items() if isinstance(value, str | int | float) and name != "place"}
  if isinstance(about.get("dataset"), str):
    told["dataset"] = named(about["dataset"])
  told |= {f"version of {name}": value for name, value in (about.get("versions") or {}).items() if value}
  if not told:
    return "Nothing is known of it."
  cells = tables.Cells(["what", "value"], [[name.replace("_", " "), str(value)] for name, value in told.items()])
  return tables.markdown(cells).strip()
