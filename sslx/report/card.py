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
from sslx.report.records import any_smoke
from sslx.report.statistics import Entry
from sslx.report.worth import moved
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
UNTOLD = ("place", "made_of", "smoke", "calibrated")  # entries of `about` that are no one's business, or said elsewhere
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
  about = {name: visible(value) if isinstance(value, str) else value for name, value in facts["about"].items()}
  facts = {**facts, "about": about, "names": [*map(visible, facts["names"])]}
  rows = [{**row, "dataset": named(str(row.get("dataset", "")))} for row in rows]
  summary = statistics.summarise(rows)
  entry = _of_model(facts, summary)
  parts = [
    f"---\n{_front(facts, entry)}---\n\n# {_name(facts)}",
    _what(facts),
    f"## How good it is\n\n{_score(facts, entry, summary, any_smoke(rows))}",
    f"## Limits\n\n{_limits(facts, summary)}",
    f"## How to load it\n\n{_loading(facts, files)}",
    f"## How it was made\n\n{_making(about)}",
  ]
  return "\n\n".join(parts) + "\n"


def named(dataset: str) -> str:
  """A data set's name without the folders that lead to it: `photos (folder)` of folder:/home/me/photos."""
  kind, colon, place = dataset.partition(":")
  return visible(f"{PurePath(place).name} ({kind})" if colon else dataset)


def _of_model(facts: Facts, summary: Sequence[Entry]) -> Entry | None:
  """The line of the table that the model is of. A model that was trained on all labels is of the line whose folds
  judged it, which have fewer labels each.
  """
  about = facts["about"]
  score = about.get("score")  # as experiments tell it; anyone may tell anything here
  labels = score.get("labels", facts["labels"]) if isinstance(score, Mapping) else facts["labels"]
  asked = {"mode": facts["mode"], "labels": labels, "method": about.get("method")}
  asked = {name: value for name, value in asked.items() if value is not None}
  entry = next((entry for entry in summary if all(getattr(entry, k) == v for k, v in asked.items())), None)
  mean = score.get("mean") if isinstance(score, Mapping) else None
  if entry is None or not isinstance(mean, int | float):
    return entry
  return moved(entry, mean - entry.mean)  # experiments.worth tells it without the luck of having been chosen


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
      "dataset": {"name": entry.dataset, "type": _id(entry.dataset), "split": "train" if entry.folds else "test"},
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
  labels = statistics.labels_text(entry.labels)
  if entry.folds:
    return f"{entry.score.name}, {labels}, cross-validated in {entry.folds} folds"
  subsets = f", the mean over {entry.n} draws of the labels" if entry.n > 1 else ""
  return f"test {entry.score.name}, {labels}{subsets}"


# ---- what people read ------------------------------------------------------------------------------------------------


def _what(facts: Facts) -> str:
  about, task, things = facts["about"], facts["task"], THINGS[facts["modality"]]
  encoder = f" {about['encoder']}" if about.get("encoder") else ""
  what = f"An encoder{encoder} with a head for {task} of {things}"
  start = {"random": " Its encoder started at random weights: nothing was pretrained."}
  if facts.get("reads") == "raw" and not facts.get("trains_encoder"):
    what = f"A head for {task} of {things}, without an encoder: it reads the signal itself"
  elif facts.get("reads") == "pretrained" and about.get("method"):
    start = {"pretrained": f" Its encoder was pretrained by {about['method']}."}
  told = f"{what}; {facts['parameters']:,} parameters in all.{start.get(facts.get('reads') or '', '')}"
  learnt = f"{task.capitalize()} was learnt from {facts['labels']:,} labels. The mode is {facts['mode']}."
  listed = "Numbers" if task == "regression" else "Classes"
  names = f"{listed}, in the order of the outputs: {', '.join(facts['names'])}."
  return "\n\n".join([told, learnt, names])


def _score(facts: Facts, entry: Entry | None, summary: Sequence[Entry], smoke: bool) -> str:
  about, lines = facts["about"], []
  if smoke or about.get("smoke"):
    lines.append("The run was made with --smoke, to try things out: its numbers mean nothing.")
  if about.get("score_told"):
    lines.append(about["score_told"])
  elif entry is not None:
    lines.append(f"{statistics.title(entry.score)} {statistics.quantity(entry.score, entry.mean)}: {_measured(entry)}.")
  else:
    lines.append("Nothing is known of this: it comes without results.")
  if (row := _own(facts, entry)) is not None and entry is not None and entry.n > 1:
    lines.append(f"This very model, of one of these draws: {statistics.quantity(entry.score, row)}.")
  lines += _calibration(facts)
  if summary:
    lines += [answer.text for answer in sentences.answer(summary)]
    lines.append(tables.titled([tables.results_table(summary)]).strip())
  return "\n\n".join(lines)


def _own(facts: Facts, entry: Entry | None) -> float | None:
  """The score of the model itself on the test split; None where it was not tested, as it has learnt all labels."""
  seed = facts["about"].get("subset_seed")
  if entry is None or entry.folds or seed not in entry.seeds:
    return None
  return entry.values[entry.seeds.index(seed)]


def _calibration(facts: Facts) -> list[str]:
  if facts["about"].get("calibration_told"):
    return [f"Confidences: {facts['about']['calibration_told']}"]
  if facts["task"] not in ("classification", "multilabel"):
    return []
  return ["Confidences are not calibrated: they may be surer, or less sure, than they are right."]


def _limits(facts: Facts, summary: Sequence[Entry]) -> str:
  """What is known to bound what the scores say."""
  about = facts["about"]
  told = [f"It has learnt {facts['task']} from {facts['labels']:,} labels."]
  told += sentences.caveats(summary)
  if about.get("dataset"):
    told.append(
      f"Nothing is known of {THINGS[facts['modality']]} that are not like those of {named(about['dataset'])}."
    )
  return "\n".join(f"- {each}" for each in told)


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
  told = {k: v for k, v in about.items() if isinstance(v, str | int | float) and k not in UNTOLD and "_told" not in k}
  if isinstance(about.get("dataset"), str):
    told["dataset"] = named(about["dataset"])
  versions = about.get("versions")
  told |= {f"version of {k}": v for k, v in versions.items() if v} if isinstance(versions, Mapping) else {}
  if not told:
    return "Nothing is known of it."
  cells = tables.Cells(["what", "value"], [[name.replace("_", " "), str(value)] for name, value in told.items()])
  return tables.markdown(cells).strip()
