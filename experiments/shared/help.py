"""What --help shows: an experiment on two screens, all of it with --help=all, or a method with --help --method=X.

The short help is made of what is there already: the docstring down to its examples, and the first sentence of each
flag's help. GROUPS says which flags, SHOWN where an experiment has others, DEFAULTS what it sets them to.
"""

import inspect
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from experiments import called
from experiments.shared.columns import CALL, command, document, fill
from sslx import options

FLAGS = flags.FLAGS
KINDS = ("short", "all")  # of --help
SPELLINGS = {  # of --help=KIND, as absl's programs know them too
  **dict.fromkeys(("-h", "-?", "-help", "--help", "--help=true", "-helpshort", "--helpshort"), "short"),
  **dict.fromkeys(("-helpfull", "--helpfull"), "all"),
}
COMMON = (
  "experiments.shared.cli",
  "experiments.shared.devices",
  "experiments.shared.labels",
  "experiments.shared.logs",
)  # where the flags of all experiments are defined
COLUMNS = 80  # of a pipe, and of the short help

DATA, PRETRAINING, COMPARED, RESULTS = (
  "What to learn from", "How to pretrain", "What to compare", "Where results go",
)  # fmt: skip
PHOTOS = """\
      Your own photos: --dataset=folder:DIR --image_size=32, with pictures in
      DIR/train/CLASS/, and perhaps DIR/test/CLASS/ and DIR/unlabeled/."""
BUDGET = ("encoder", "steps", "epochs", "batch_size", "learning_rate")
GROUPS = {
  DATA: ("dataset", "image_size", "seconds", "sample_rate"),
  PRETRAINING: ("method", "hp", *BUDGET, "seed"),
  COMPARED: ("labels", "seeds", "modes", "features"),
  RESULTS: ("out", "fresh", "smoke"),
}
FINISHED = {DATA: ("checkpoint", *GROUPS[DATA]), PRETRAINING: ()}
SEVERAL = {
  PRETRAINING: ("method", "methods", "checkpoint", "hp", *BUDGET, "seed"),
  COMPARED: (*GROUPS[COMPARED], "finetune_epochs"),
}
SHOWN: dict[str, Mapping[str, Sequence[str]]] = {
  "active": {
    PRETRAINING: ("checkpoint", "method", "hp", *BUDGET, "seed"),
    COMPARED: ("labels", "seeds", "features"),
  },
  "all_reports": {group: () for group in GROUPS},
  "assignment": {**SEVERAL, PRETRAINING: ("methods", *BUDGET, "seed")},
  "autoencoders": {PRETRAINING: (*BUDGET, "seed")},
  "blocks": FINISHED,
  "compare": {PRETRAINING: ("methods", *BUDGET, "seed")},
  "data_efficiency": SEVERAL,
  "downstream": {
    DATA: ("dataset", "image_size"),  # its tasks are of images
    PRETRAINING: SEVERAL[PRETRAINING],
    COMPARED: ("labels", "seeds", "modes"),
  },
  "export": {DATA: ("model",), PRETRAINING: (), COMPARED: (), RESULTS: ("out",)},
  "freezing": SEVERAL,
  "interpret": {**FINISHED, COMPARED: ("features",)},
  "label_curve": SEVERAL,
  "label_next": {
    DATA: ("model", "dataset", "labels_file"),
    PRETRAINING: (),
    COMPARED: ("folds",),
    RESULTS: ("out", "smoke"),
  },
  "linear_eval": SEVERAL,
  "new_speakers": {
    DATA: (),
    PRETRAINING: ("method", "methods", "hp", *BUDGET, "seed"),
    COMPARED: ("labels", "modes", "features", "augment"),
  },
  "one_percent": {PRETRAINING: ("checkpoint", "method", "hp", *BUDGET)},  # each of --seeds pretrains
  "predict": {DATA: ("model",), PRETRAINING: (), COMPARED: (), RESULTS: ("out",)},
  "pretrain": {COMPARED: ()},
  "probe": FINISHED,
  "rotnet_mnist": {PRETRAINING: ("epochs", "batch_size", "learning_rate")},
  "speakers": {
    DATA: ("checkpoint", "dataset", "seconds", "sample_rate"),
    PRETRAINING: ("method", "hp", *BUDGET, "seed"),
    COMPARED: ("features",),
  },
  "track": {
    DATA: ("checkpoint", "dataset"),
    PRETRAINING: ("method", "methods", "hp", *BUDGET, "seed"),
    COMPARED: ("features",),
  },
  "transfer": {PRETRAINING: SEVERAL[PRETRAINING]},
  "worth": {
    PRETRAINING: ("methods", "encoder", "batch_size", "learning_rate", "seed"),
    COMPARED: ("labels", "seeds", "folds"),
  },
  "words": {
    DATA: ("dataset", "min_count", "max_words"),
    PRETRAINING: ("method", "methods", "hp", *BUDGET, "seed"),
    COMPARED: (),
  },
}
IMAGES = "118,000 images"
OF_RUN = {"dataset": "the run's", "features": "the run's"}
DEFAULTS: dict[str, Mapping[str, str]] = {  # as an experiment sets them, on MNIST
  "active": {"labels": "50,100,200"},
  "assignment": {
    "methods": "rotation,simclr", "encoder": "conv", "steps": IMAGES, "labels": "100,all", "finetune_epochs": "5",
  },
  "autoencoders": {
    "encoder": "conv", "steps": IMAGES, "labels": "100,600,1000", "modes": "scratch,frozen,last:1,full,knn:20",
  },
  "blocks": {"dataset": "the run's", "modes": "frozen,knn:20"},
  "compare": {
    "methods": "all", "encoder": "conv", "steps": IMAGES, "labels": "100,600,1000",
    "modes": "scratch,frozen,last:1,full,knn:20",
  },
  "data_efficiency": {
    "method": "", "methods": "swav,simclr", "encoder": "conv", "steps": IMAGES, "labels": "0.1%,0.3%,1%,3%,10%,all",
    "modes": "scratch,full,frozen", "finetune_epochs": "20",
  },
  "downstream": {
    "dataset": "scenes", "method": "", "methods": "vader,simclr,inpaint",
    "encoder": "conv:widths=16-32-64-128,down=stride,norm=group", "steps": IMAGES, "labels": "100,500",
  },
  "export": {"out": "the model's, export/"},
  "freezing": {
    "method": "", "methods": "denoise,rotation,simclr", "encoder": "conv", "steps": IMAGES,
    "labels": "30,100,300,1000,10000", "modes": "scratch,frozen,last:1,last:2,full", "finetune_epochs": "10",
  },
  "interpret": OF_RUN,
  "label_next": {"dataset": "the run's", "out": "the run's"},
  "label_curve": {
    "labels": "10,30,100,300,1000,3000,10000", "modes": "scratch,full,frozen", "finetune_epochs": "20",
  },
  "linear_eval": {"labels": "1%,10%,all", "modes": "by their number", "finetune_epochs": "20"},
  "new_speakers": {
    "method": "", "methods": "cpc_audio", "steps": "800", "labels": "all", "modes": "scratch,frozen,last:1,full",
    "seeds": "1", "encoder": "mel+gru:width=256,context=256",
  },
  "one_percent": {
    "method": "autoencode", "encoder": "mlp:code=10", "labels": "600", "modes": "scratch,frozen,full",
  },
  "predict": {"out": "predictions.csv"},
  "probe": {**OF_RUN, "modes": "scratch,frozen,knn:20,full"},
  "rotnet_mnist": {"epochs": "50", "batch_size": "48", "learning_rate": "0.001", "labels": "1000"},
  "speakers": {"dataset": "spoken_digits"},
  "track": {"dataset": "moving_digits", "method": "temporal_colour"},
  "transfer": {"labels": "100,1000", "modes": "frozen,full"},
  "words": {"dataset": "python_docs", "method": "skipgram"},
  "worth": {
    "methods": "vicreg,simclr,swav,barlow_twins,cpc_v2,inpaint,rotation,denoise", "encoder": "conv", "labels": "all",
    "seeds": "2",
  },
}  # fmt: skip


HERE = {  # (experiment, flag): help of a flag that means something else there
  ("predict", "out"): "Table to write, or the folder for it. The page and lists lie beside it.",
}


def spelled(arguments: Iterable[str]) -> list[str]:
  """A command's arguments, where each way to ask for help is --help=KIND."""
  return [f"--help={SPELLINGS[text]}" if text in SPELLINGS else text for text in arguments]


def experiment(module: str) -> str:
  """`one_percent`, of `experiments.one_percent.__main__` or of the program that is running."""
  if module == "__main__":
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else Path(sys.argv[0]).stem
  return module.removeprefix("experiments.").removesuffix(".__main__")


def text(module: str, known: Sequence[Any]) -> str:
  """What --help shows of an experiment, in `module`; known: its flags."""
  name = experiment(module)
  doc = inspect.cleandoc((sys.modules.get(module) or sys.modules["__main__"]).__doc__ or "")
  if FLAGS.help == "all":
    return _everything(name, doc, known)
  return _method(FLAGS.method) if FLAGS["method"].present else _short(name, doc, known)


def _short(name: str, doc: str, known: Sequence[Any]) -> str:
  """At most 48 lines of 80 columns."""
  paragraphs = doc.split("\n\n")
  end = next((i for i, paragraph in enumerate(paragraphs) if CALL.match(paragraph.strip())), len(paragraphs) - 1)
  lines = [document("\n\n".join(paragraphs[: end + 1]), COLUMNS)]
  by_name = {flag.name: flag for flag in known}
  groups = {**GROUPS, **SHOWN.get(name, {})}
  grouped = {flag for group in groups.values() for flag in group}
  common = [flag for module in COMMON for flag in FLAGS.flags_by_module_dict()[module]]
  own = [n for n, flag in by_name.items() if n not in grouped and flag not in common]
  groups = {DATA: groups[DATA], "Of this experiment": own, **groups}
  column = max(len(flag) for group in groups.values() for flag in group) + 2
  for title, group in groups.items():
    lines += ["", title] if group else []
    lines += [_line(name, by_name[flag], default(name, by_name[flag]), column) for flag in group]
    lines += [PHOTOS] if title == DATA and groups[PRETRAINING] and "image_size" in group else []
  return "\n".join([*lines, "", *_more(groups)])


def _more(groups: Mapping[str, Sequence[str]]) -> list[str]:
  """Where the rest is told."""
  lines = ["--help=all            every flag, method, mode, network and data set"]
  if "method" in groups[PRETRAINING]:
    lines.append("--help --method=X     what the method X does, needs, and its settings")
  return [*lines, f"{called():<21} all experiments"]


def _line(name: str, flag: Any, value: str, column: int) -> str:
  """`  --seeds  Label subsets, each drawn anew [5]`; of a long default its ends, or a network's kind."""
  sentence = re.split(r"(?<=[\w`])\. |\.$", _told(name, flag))[0]
  parts = value.split(",")
  forms = [parts]
  forms += [[*parts[:2], "...", parts[-1]], [parts[0], "...", parts[-1]]] if len(parts) > 3 else []
  kind, colon, _ = parts[0].partition(":")
  forms += [[f"{kind}:..."]] if colon else []
  line = ""
  for shown in forms:
    ending = f" [{','.join(shown)}]" if value else ""
    line = f"  --{flag.name:<{column}}{sentence}{ending}"
    if len(line) <= COLUMNS:
      break
  return line


def _told(name: str, flag: Any) -> str:
  """A flag's help in this experiment, without what absl adds to it."""
  return HERE.get((name, flag.name)) or re.sub(r"^<[^>]*>: |;\s*repeat this option.*", "", flag.help, flags=re.DOTALL)


def default(name: str, flag: Any) -> str:
  """A flag's default in this experiment: what it sets, the flag's own, or what the flag's help says."""
  if flag.name in DEFAULTS.get(name, {}):
    return DEFAULTS[name][flag.name]
  value = flag.default
  if value is None or value == []:
    said = re.search(r"Default: ([^.,;]+)", flag.help)
    return said[1] if said else ""
  if isinstance(value, bool):
    return "on" if value else "off"
  if isinstance(value, list):
    return ",".join(map(str, value))
  return f"{value:g}" if isinstance(value, float) else str(value)


def _method(name: str) -> str:
  """What a method does, takes and needs."""
  from sslx.pretext import check

  method = check(name)
  takes = options.assignments(options.resolve(method.factory, {}))
  needs = f"It needs {' or '.join(method.modalities)} data"
  needs += ", at least two in a batch" if method.compares else ""
  needs += ", with labels" if method.labels else ""
  budget = (
    f"By default it makes {method.steps:,} steps with {method.batch_size} images each, with {method.optimizer} at a "
    f"learning rate of {method.learning_rate:g}, on --encoder={method.encoder}. {needs}."
  )
  settings = ["Settings, each as --hp=NAME=VALUE:", options.describe(method.factory), ""] if takes else []
  experiment = "track" if method.modalities == ("video",) else "low_label"
  example = f"{called(experiment)} --method={name}{f' --hp={takes[0]}' if takes else ''}"
  return "\n".join([
    f"--method={name}", "", fill(_title(method.factory), COLUMNS, 0), "",
    document(inspect.getdoc(method.factory) or "", COLUMNS), "", fill(budget, COLUMNS, 0), "", *settings,
    *command(example, COLUMNS),
  ])  # fmt: skip


def _title(factory: Callable) -> str:
  """What a method is, in a line: the first of its file."""
  return (inspect.getdoc(inspect.getmodule(factory)) or "").partition("\n")[0]


def _everything(name: str, doc: str, known: Sequence[Any]) -> str:
  """Docstring, flags, methods, modes, encoders, data sets, as wide as the terminal."""
  from sslx import data
  from sslx.evaluation.modes import MODES
  from sslx.nn import ENCODERS
  from sslx.pretext import METHODS

  width = max(40, min(120, shutil.get_terminal_size().columns)) if sys.stdout.isatty() else COLUMNS

  def hung(line: str, hang: int = 6) -> str:
    return fill(line, width, hang)

  lines = [document(doc, width), "", "Flags:"]
  for flag in known:
    value = default(name, flag)
    lines += [f"  --{flag.name}{f' [{value}]' if value else ''}", hung(f"      {_told(name, flag)}")]
  lines += ["", "Methods, for --method and --methods, with their --hp:"]
  for method_name, method in METHODS.items():
    takes = options.assignments(options.resolve(method.factory, {}))
    lines.append(hung(f"  {method_name}  {_title(method.factory)}"))
    lines += [hung(f"      {' '.join(takes)}")] if takes else []
  lines += ["", "Data sets, for --dataset:", *map(hung, data.describe().splitlines()), "", "Modes, for --modes:"]
  modes = {f"{mode_name}{':' * bool(mode.argument)}{mode.argument}": mode.help for mode_name, mode in MODES.items()}
  lines += [hung(f"  {mode}  {what}") for mode, what in modes.items()]
  lines += ["", "Networks, for --encoder, with their settings:"]
  for encoder, factory in ENCODERS.items():
    lines += [f"  {encoder}", *(hung(f"    {line}", 8) for line in options.describe(factory).splitlines())]
  return "\n".join(lines)
