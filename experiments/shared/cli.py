"""The command line: flags, help, errors of one line. With its neighbours the only place that reads FLAGS.

The flags of pretraining are the fields of `sslx.training.config.Config`, those of training on labels the fields of
`sslx.evaluation.recipe.Recipe`. Libraries below `experiments` are imported inside functions where they are slow to
load, so that --help and a mistyped flag answer at once.
"""

import math
import sys
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.shared import command as commands
from experiments.shared import devices, interrupt, logs, machine, processes
from experiments.shared import help as manual
from experiments.shared.labels import bound, how_to_label
from experiments.shared.labels import heldout as heldout
from experiments.shared.labels import label_counts as label_counts
from experiments.shared.start import is_first
from experiments.shared.terminal import notify
from experiments.shared.terminal import say as say
from experiments.shared.terminal import tell as tell
from sslx import options
from sslx.evaluation.recipe import Recipe
from sslx.training.config import SMOKE_STEPS, Config
from sslx.types import UserError, visible

if TYPE_CHECKING:
  from sslx import nn
  from sslx.data import Dataset
  from sslx.types import Task

FLAGS = flags.FLAGS


def define(kind: type) -> None:
  """Makes a flag of each setting of a dataclass."""
  for setting in options.settings(kind):
    if setting.flag is None:
      continue
    base, default = options.alternatives(setting.annotation)[0], setting.default
    if setting.texts:
      flags.DEFINE_multi_string(setting.flag, [], setting.help)
    elif base is bool:
      flags.DEFINE_bool(setting.flag, default, setting.help)
    elif base is int:
      flags.DEFINE_integer(setting.flag, default, setting.help)
    elif base is float:
      flags.DEFINE_float(setting.flag, default, setting.help)
    elif typing.get_origin(base) is tuple:
      flags.DEFINE_list(setting.flag, [f"{value:g}" for value in default], setting.help)
    else:
      flags.DEFINE_string(setting.flag, default, setting.help)


flags.DEFINE_enum(
  "help", None, list(manual.KINDS), "Show what this does and its main flags. all: every flag, method and so on. With "
  "--method=X that method's settings.", short_name="h",
)  # fmt: skip
define(Config)
flags.DEFINE_list("methods", None, "Methods to compare, or all. In place of --method, where several are compared.")
flags.DEFINE_string("task", None, "Which task, where the data has targets for several. Default: its first.")
flags.DEFINE_list("target", [], "Which columns of a table, or numbers of scenes, are asked for.")
flags.DEFINE_string(
  "data_dir", None, "Where prepared data sets live. Default: $TFDS_DATA_DIR or ~/tensorflow_datasets."
)
flags.DEFINE_integer("image_size", None, "Resize images to so many pixels a side. Of pictures in files.")
flags.DEFINE_integer("sample_rate", None, "Resample sound to so many Hz. Default: the data's own.")
flags.DEFINE_float("seconds", None, "Cut or pad sound to so many seconds. At its end. Default: the data's own.")
flags.DEFINE_integer("min_count", None, "Leave out words of a text that are rarer than this. Default: 5.")
flags.DEFINE_integer("max_words", None, "Keep at most so many words of a text, the most frequent. Default: all.")
flags.DEFINE_integer("max_length", None, "Cut documents at so many words. Default: the data's own.")
flags.DEFINE_integer("frames", None, "Cut videos into clips of so many frames. Default: 12.")
flags.DEFINE_integer("stride", None, "Take only every Nth frame of a video. Default: 1, all of them.")
flags.DEFINE_string("size", None, "Resize videos: 96x160, height x width, or 96, the shorter side. Default: not.")
flags.DEFINE_string("background", "white", "Colour behind transparent pictures in files: a name, or #rrggbb.")
flags.DEFINE_integer(
  "bits", 16, "How many of their 16 bits grey images really use, 8 to 16: 12 where their values end at 4095."
)
flags.DEFINE_integer("in_memory_limit", 2 << 30, "Bytes of examples up to which the training split is held in memory.")
flags.DEFINE_bool(
  "online_knn", True, "Watch a kNN among the held-out examples, by their labels, and the rank of their features. "
  "Nothing is trained or chosen by it.",
)  # fmt: skip
flags.DEFINE_string("out", "runs", "Folder that results go to, a directory a run.")
flags.DEFINE_float("save_seconds", 30.0, "Seconds between checkpoints of pretraining.")
flags.DEFINE_integer("workers", 0, "Processes that read and decode data that stay on the disk. Default: 0, threads of "
                     "this process.")  # fmt: skip
flags.DEFINE_bool("compilation_cache", False, "Keep compiled programs in ~/.cache/sslx: a later start is faster.")
flags.DEFINE_bool("fresh", False, "Start over: delete this run's directory first.")
flags.DEFINE_bool("smoke", False, "Try it out in seconds: few examples and steps. The numbers then mean nothing.")
flags.DEFINE_bool("debug", False, "Show the traceback of an error.")

flags.DEFINE_string(
  "checkpoint", None, "Finished run to start from: a directory of --out. A checkpoint in it will do, too."
)

flags.DEFINE_list(
  "modes", ["scratch", "frozen", "last:1", "full"],
  "Ways to use the labels. raw and random always go along; --help=all says what each is.",
)  # fmt: skip
flags.DEFINE_integer(
  "max_parameters",
  200_000_000,
  "Up to how many parameters an encoder, or another part of a method, may have, and its blocks numbers of one example.",
)
define(Recipe)
bound("save_seconds", low=0, high=options.LARGEST)
bound("workers", low=0)
bound("max_parameters", above=0)

_PRETRAININGS = ("experiments.shared.pretrainings",)
BASES = {"experiments.data_efficiency": ("experiments.label_curve",), "experiments.words": _PRETRAININGS,
         "experiments.track": _PRETRAININGS}  # whose flags are an experiment's own too  # fmt: skip


def run(main: Callable[[], None], module: str, argv: Sequence[str] | None = None) -> int:
  """Parses flags, runs `main`, and turns bad input into one line on stderr. Returns the exit status.

  0: done; 1: bad input, or a disk that is full or cannot be written; 130: interrupted, the checkpoint is kept; 2: a
  flag that does not parse.
  """
  argv = manual.spelled(sys.argv if argv is None else argv)
  try:
    machine.accept_any_text()
    FLAGS.unparse_flags()  # a second call in one process (tests, notebooks) starts from the defaults again
    try:
      rest = FLAGS(argv)[1:]
    except UnicodeDecodeError as error:
      raise UserError(f"--flagfile: is no text ({error.reason}).") from error
    except RecursionError as error:  # absl compares it with all flags, character by character
      raise UserError(f"{max(argv, key=len)}: no such flag. See --help.") from error
    if rest:
      raise UserError(f"{rest[0]!r} is not a flag; flags are written --name=value. See --help.")
    if FLAGS.help:
      print(manual.text(module, own_flags(manual.experiment(module))))
      return 0
    if FLAGS.compilation_cache:
      machine.use_compilation_cache(Path.home() / ".cache/sslx")
    machine.check_xla_flags()
    import jax as jax  # takes seconds: until it is there, Ctrl-C ends a program at once, as nothing is begun

    devices.start()
    if processes.follows():
      from experiments.shared import together

      together.follow()
    interrupt.as_usual()
    with interrupt.answered(), processes.leading(), commands.running():
      machine.check_jax()
      logs.check()
      main()
    return 0
  except flags.Error as error:
    if is_first():  # of several processes with the same arguments
      machine.complain(_mistyped(error))
    return 2
  except Exception as error:
    loop = sys.modules.get("sslx.training.loop")  # it is there, if it was interrupted
    if loop and isinstance(error, loop.Interrupted):
      kept = "the checkpoint is saved" if error.saved else "finished parts are kept"  # type: ignore[attr-defined]
      notify(f"{error}; {kept}. Run the same command to go on.")
      return interrupt.leave()
    why = error if isinstance(error, UserError) else machine.reason(error)
    if why is None:
      raise
    if FLAGS.is_parsed() and FLAGS.debug:
      print(*map(visible, traceback.format_exc().splitlines()), sep="\n", file=sys.stderr)
    machine.complain(why)
    return 1
  except KeyboardInterrupt:
    notify(interrupt.KEPT)
    return interrupt.leave()


def _mistyped(error: flags.Error) -> str:
  """What is wrong with a flag, and which one may be meant."""
  if not isinstance(error, flags.UnrecognizedFlagError):
    return str(error)
  near = options.close(error.flagname, FLAGS, 1, 0.6)
  return f"--{error.flagname}: no such flag.{f' Did you mean --{near[0]}?' if near else ''} See --help."


def own_flags(experiment: str) -> list[Any]:
  """The flags of all experiments, of this one, and of what it took its `main` from."""
  ours = (f"experiments.{experiment}", f"experiments.{experiment}.__main__", sys.argv[0])  # absl's name of __main__
  by_module = FLAGS.flags_by_module_dict()
  return list(dict.fromkeys(f for m in (*manual.COMMON, *ours, *BASES.get(ours[0], ())) for f in by_module.get(m, [])))


def command(experiment: str) -> str:
  """The command line that repeats this run, as a shell reads it. A flag that was given is in it at its default too: the
  experiment's own default may be another.
  """
  changed = [
    argument
    for f in own_flags(experiment)
    if (f.present or f.value != f.default) and f.name not in ("fresh", "debug", "compilation_cache")
    for argument in ([f"--{f.name}={v}" for v in f.value or []] if isinstance(f, flags.MultiFlag) else [f.serialize()])
  ]
  return " ".join([f"python -m experiments.{experiment}", *map(machine.quoted, changed)])


def given_flags() -> dict[str, Any]:
  """Our flags with the values they have in this run."""
  by_module = FLAGS.flags_by_module_dict()
  return {f.name: f.value for module in manual.COMMON for f in by_module[module]}


def flag_names(pretraining: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
  """For a page: what a run was pretrained with, and its rows' settings of training on labels, by the names of their
  flags. Both have epochs, a batch size and so on.
  """
  ours = {each.name: each.flag or each.name for each in options.settings(Config)}
  theirs = {each.name: each.flag or f"finetune_{each.name}" for each in options.settings(Recipe)}
  first = {ours.get(name, name): value for name, value in pretraining.items()}
  return {**first, **{theirs.get(name, name): value for name, value in settings.items()}}


def default(**values: Any) -> None:
  """Sets flags that were not given: what an experiment's own defaults are."""
  for name, value in values.items():
    if not FLAGS[name].present:
      FLAGS[name].value = value


def positive(*names: str) -> None:
  """Raises UserError for a flag that is given and not above 0."""
  for name in names:
    value = FLAGS[name].value
    if value is not None and not 0 < value < math.inf:
      raise UserError(f"--{name}={value}: must be positive.")


# ---- values from flags -----------------------------------------------------------------------------------------------


def config(method: str | None = None, hp: Sequence[str] | None = None, **changed: Any) -> Config:
  """The configuration of pretraining by the flags. method, hp (texts) and `changed` fields: in place of theirs."""
  from sslx.pretext import check

  name = str(method or FLAGS.method)
  values = {setting.name: FLAGS[setting.flag].value for setting in options.settings(Config) if setting.flag}
  values["hp"] = options.parse(check(name).factory, FLAGS.hp if hp is None else hp, "--hp")
  return Config(**{**values, "method": name, "smoke": FLAGS.smoke, **changed})


def _check_views(text: str) -> None:
  """Raises UserError where --augment names no views."""
  from sslx.modalities import views

  try:
    views.build(text)
  except UserError as error:
    raise UserError(str(error).replace("--hp=views", "--augment")) from None


def recipe(task: "Task | None" = None) -> Recipe:
  """The recipe of training on labels that the flags describe, and where they were not given, what the task takes."""
  usual = {} if task is None else dict(task.recipe)
  values = {
    setting.name: usual.get(setting.name, FLAGS[setting.flag].value)
    if not FLAGS[setting.flag].present
    else FLAGS[setting.flag].value
    for setting in options.settings(Recipe)
    if setting.flag
  }
  try:
    rates = tuple(float(rate) for rate in values["learning_rates"] or ())
  except ValueError:
    given = ",".join(FLAGS.finetune_learning_rates)
    raise UserError(f"--finetune_learning_rates={given}: expected positive numbers.") from None
  made = Recipe(**{**values, "learning_rates": rates})  # checks them, with --smoke too
  if made.augment:
    _check_views(made.augment)
  if not FLAGS.smoke:
    return made
  return Recipe(**{**values, "learning_rates": rates, "steps": SMOKE_STEPS, "epochs": 1.0, "self_train_epochs": 0.1})


def modes(dataset: "Dataset", encoder: "nn.Encoder", names: Sequence[str] | None = None) -> tuple[str, ...]:
  """--modes, or `names` in their place. Where the flag was not given: those that can do the data set's task.

  Raises:
    UserError: one that is not known, or that the flag names and the data set or the encoder does not allow; or none can
      do the task: its scores need a library that is missing, or the encoder does not make what it reads.
  """
  from sslx.evaluation.features import check_maps
  from sslx.evaluation.modes import check_extra, check_modes, doable
  from sslx.tasks import NO_TASK

  if dataset.task.name == NO_TASK:
    where = "track" if dataset.videos.get("test") else "pretrain"
    cure = "; or ".join(filter(None, [how_to_label(dataset), f"pretrain on it with experiments.{where}"]))
    raise UserError(f"--dataset={dataset.name}: has no labels to be used; {cure}.")
  check_extra(dataset.task)
  check_maps(dataset.task, encoder, dataset.x_shape)
  asked: Sequence[str] = FLAGS.modes if names is None else names
  allowed = asked if FLAGS["modes"].present else doable(asked, dataset)
  return check_modes(allowed, encoder.block_names, dataset.task.name, dataset.modality.name)


def check_classes(dataset: "Dataset") -> None:
  """Raises UserError for a data set of another task than classification, which published protocols are of."""
  if dataset.task.name != "classification":
    raise UserError(
      f"--dataset={dataset.name}: this protocol is one of classes, and these data are for {dataset.task.name}; see "
      "experiments.low_label and experiments.downstream."
    )
