"""Flags, run directories and pretraining that every experiment shares. The only place, with its neighbours, of FLAGS.

Libraries below `experiments` are imported inside functions where they are slow to load, so that --help and a mistyped
flag answer at once.
"""

import dataclasses
import difflib
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from sslx.types import UserError

FLAGS = flags.FLAGS

flags.DEFINE_bool("help", False, "Show this; with --method=X also that method's hyper-parameters.", short_name="h")
flags.DEFINE_string("method", "denoise", "Pretext method.")
flags.DEFINE_list(
  "methods", None, "Several methods, side by side, where an experiment compares them; all: every method."
)
flags.DEFINE_string("dataset", "mnist", "mnist, fashion_mnist, idx:DIR, npz:FILE, folder:DIR or tfds:NAME.")
flags.DEFINE_string(
  "data_dir", None, "Where prepared data sets live. Default: $TFDS_DATA_DIR or ~/tensorflow_datasets."
)
flags.DEFINE_integer("image_size", None, "Resize images to this many pixels a side (folder: and tfds: sets).")
flags.DEFINE_integer("in_memory_limit", 2 << 30, "Bytes of images up to which the training split is held in memory.")
flags.DEFINE_string(
  "encoder",
  None,
  "Encoder, with settings: conv, mlp, rotnet, resnet, resnet18, vit, split, conv:widths=16-32-64. Default: the method's own.",
)
flags.DEFINE_string(
  "features",
  "flatten",
  "Features: [BLOCK:]flatten, pool, gridN or maxN, or BLOCK; several joined by +; @1, @2: half of the channels.",
)
flags.DEFINE_float("epochs", None, "Pretraining epochs. Default: the method's own.")
flags.DEFINE_integer("batch_size", None, "Pretraining batch. Default: the method's own.")
flags.DEFINE_string("optimizer", None, "Of pretraining: adamw, sgd (momentum 0.9) or lars. Default: the method's own.")
flags.DEFINE_float(
  "learning_rate",
  None,
  "Pretraining peak learning rate, cosine decay. Default: the method's; with another --optimizer than its own, for a "
  "batch of 256, in proportion for others: adamw 0.001, sgd 0.03, lars 0.3.",
)
flags.DEFINE_float("warmup_epochs", None, "Pretraining epochs of warm-up. Default: a tenth of all, at most 100 steps.")
flags.DEFINE_float("pretraining_weight_decay", 1e-4, "Weight decay of pretraining; it spares biases and normalisation.")
flags.DEFINE_integer(
  "accumulate",
  1,
  "Parts that a pretraining batch goes through the model in: a fraction of the memory, one optimiser step. Contrastive "
  "losses have the negatives of a part only, and batch normalisation its images.",
)
flags.DEFINE_string(
  "precision", "float32", "Of the pretrained encoder's products: float32 or bfloat16. Probes run in float32."
)
flags.DEFINE_multi_string("hp", [], "A hyper-parameter of the method, name=value; repeatable.")
flags.DEFINE_integer("seed", 0, "Seed of pretraining.")
flags.DEFINE_integer(
  "watch", 1000, "Training images held out of pretraining (at most a tenth), on which its loss and metrics are watched."
)
flags.DEFINE_bool(
  "online_knn", True, "Watch a kNN among those images, by their labels. Nothing is trained or chosen by it."
)
flags.DEFINE_string("out", "runs", "Folder of run directories.")
flags.DEFINE_float("save_seconds", 30.0, "Seconds between checkpoints of pretraining.")
flags.DEFINE_bool("compilation_cache", False, "Keep compiled programs in ~/.cache/sslx: a later start is faster.")
flags.DEFINE_bool("fresh", False, "Start over: delete this configuration's run directory first.")
flags.DEFINE_bool("smoke", False, "Seconds instead of minutes: tiny data and few steps, for tests.")
flags.DEFINE_bool("debug", False, "Show the traceback of an error.")

flags.DEFINE_string("checkpoint", None, "Run directory or checkpoint that an experiment on a finished run starts from.")

flags.DEFINE_list("modes", ["scratch", "frozen", "last:1", "full"], "What to compare, besides raw and random.")
flags.DEFINE_list("labels", ["100"], "Numbers of labels, such as 100,600,1000 or 1%,10%; all for every label.")
flags.DEFINE_integer("seeds", 5, "Number of label subsets.")
flags.DEFINE_string(
  "validation", "cv", "Where hyper-parameters are chosen: cv (inside the labelled subset) or heldout:N (N more labels)."
)
flags.DEFINE_integer(
  "finetune_steps",
  150,
  "Steps of the modes that train by gradient (scratch, last:K, full); more where --finetune_epochs takes more.",
)
flags.DEFINE_float("finetune_epochs", 1.0, "At least this many passes over the labels, where they take more steps.")
flags.DEFINE_integer("finetune_batch_size", 50, "Their batch size.")
flags.DEFINE_list("finetune_learning_rates", ["2e-3"], "Their peak learning rate; of several, --validation chooses.")
flags.DEFINE_float("weight_decay", 1e-4, "Their decoupled weight decay.")
flags.DEFINE_float("self_train_epochs", 2.0, "Passes of the mode self_train over all training images, a round.")
flags.DEFINE_integer("self_train_batch_size", 128, "Its batch size.")
flags.DEFINE_float("self_train_learning_rate", 3e-3, "Its peak learning rate.")
flags.DEFINE_integer(
  "self_train_rounds", 2, "Its rounds: train on the spread labels, spread them anew over the graph of what was learnt."
)

SMOKE_STEPS, SMOKE_IMAGES = 6, 600
BASES = {
  "experiments.data_efficiency": ("experiments.label_curve",)
}  # experiment -> others whose flags are its own too


class Run(NamedTuple):
  """One configuration: what is pretrained, on what, where it is kept."""

  dataset: Any  # sslx.data.Dataset
  encoder: Any  # sslx.nn.Encoder
  pretext: Any  # sslx.types.Pretext
  features: str
  config: dict[str, Any]
  directory: Path


class Restored(NamedTuple):
  """A pretrained method, as `restore_pretext` finds it in a run directory."""

  pretext: Any  # sslx.types.Pretext
  encoder: Any  # sslx.nn.Encoder
  params: dict[str, Any]
  state: dict[str, Any]
  meta: dict[str, Any]  # see sslx.load_encoder


def run(main: Callable[[], None], module: str, argv: Sequence[str] | None = None) -> int:
  """Parses flags, runs `main`, and turns bad input into one line on stderr. Returns the exit status.

  0: done; 1: bad input; 130: interrupted, the checkpoint is kept; 2: a flag that does not parse.
  """
  argv = list(sys.argv if argv is None else argv)
  try:
    FLAGS.unparse_flags()  # a second call in one process (tests, notebooks) starts from the defaults again
    rest = FLAGS(argv)[1:]
    if rest:
      raise UserError(f"{rest[0]!r} is not a flag; flags are written --name=value. See --help.")
    if FLAGS.help:
      print(help_text(module))
      return 0
    if FLAGS.compilation_cache:
      use_compilation_cache(Path.home() / ".cache/sslx")
    main()
    return 0
  except flags.UnrecognizedFlagError as error:
    near = difflib.get_close_matches(error.flagname, list(FLAGS), n=1)
    print(
      f"error: --{error.flagname}: no such flag.{f' Did you mean --{near[0]}?' if near else ''} See --help.",
      file=sys.stderr,
    )
    return 2
  except flags.Error as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except Exception as error:
    from sslx.training.loop import Interrupted

    if isinstance(error, Interrupted):
      print(f"{error}; the checkpoint is saved. Run the same command to go on.", file=sys.stderr)
      return 130
    if not isinstance(error, UserError):
      raise
    if FLAGS.is_parsed() and FLAGS.debug:
      traceback.print_exc()
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print("interrupted. Finished parts are kept; run the same command to go on.", file=sys.stderr)
    return 130


def use_compilation_cache(folder: Path) -> None:
  """Keeps compiled programs in `folder`, apart for every jaxlib and processor: an entry of another one may crash."""
  from importlib.metadata import version

  import jax

  try:
    cpu = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
  except OSError:
    cpu = None
  host = f"{platform.machine()}-{zlib.crc32(cpu.group(1).encode() if cpu else platform.processor().encode()):08x}"
  jax.config.update("jax_compilation_cache_dir", str(folder / f"jaxlib-{version('jaxlib')}-{host}"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def help_text(module: str) -> str:
  """The experiment's docstring, its flags with their defaults, and the hyper-parameters of --method."""
  from sslx import options
  from sslx.pretext import METHODS, check

  ours = _own_flags(module, "__main__")
  lines = [(sys.modules.get(module) or sys.modules["__main__"]).__doc__ or "", "Flags:"]
  for flag in ours:
    lines.append(f"  --{flag.name}={flag.default_as_str or ''}\n      {flag.help}")
  method = check(FLAGS.method)
  lines.append(f"\nMethods: {', '.join(METHODS)}.")
  lines.append(
    f"--method={FLAGS.method} trains {method.epochs:g} epochs, batch {method.batch_size}, learning rate "
    f"{method.learning_rate:g} of {method.optimizer}, on --encoder={method.encoder}, with these --hp:\n{options.describe(method.factory)}"
  )
  lines.append(f"\nEncoders: see sslx/nn/encoders.py.\n{_encoder_help()}")
  return "\n".join(lines)


def _own_flags(*modules: str) -> list[Any]:
  """The flags of all experiments, of these modules, and of what one of these took its `main` from."""
  by_module = FLAGS.flags_by_module_dict()
  names = ("experiments.common", *modules, *BASES.get(modules[0], ()))
  return list(dict.fromkeys(f for name in names for f in by_module.get(name, [])))


def _encoder_help() -> str:
  from sslx import options
  from sslx.nn import ENCODERS

  return "\n".join(f"--encoder={name}: settings\n{options.describe(factory)}" for name, factory in ENCODERS.items())


def positive(*names: str) -> None:
  """Raises UserError for a flag that is given and not above 0."""
  for name in names:
    value = FLAGS[name].value
    if value is not None and value <= 0:
      raise UserError(f"--{name}={value}: must be positive.")


def recipe() -> Any:
  """The sslx.finetune.Recipe that the flags describe."""
  from sslx.evaluation.finetune import Recipe

  positive("finetune_steps", "finetune_epochs", "finetune_batch_size")
  positive("self_train_epochs", "self_train_batch_size", "self_train_learning_rate", "self_train_rounds")
  try:
    rates = tuple(float(rate) for rate in FLAGS.finetune_learning_rates)
  except ValueError:
    rates = ()
  if not rates or min(rates) <= 0:
    raise UserError(f"--finetune_learning_rates={','.join(FLAGS.finetune_learning_rates)}: expected positive numbers.")
  steps, epochs = (SMOKE_STEPS, 1.0) if FLAGS.smoke else (FLAGS.finetune_steps, FLAGS.finetune_epochs)
  return Recipe(
    steps=steps,
    epochs=epochs,
    batch_size=FLAGS.finetune_batch_size,
    learning_rates=rates,
    weight_decay=FLAGS.weight_decay,
    self_train_epochs=0.1 if FLAGS.smoke else FLAGS.self_train_epochs,
    self_train_batch_size=FLAGS.self_train_batch_size,
    self_train_learning_rate=FLAGS.self_train_learning_rate,
    self_train_rounds=FLAGS.self_train_rounds,
  )


def heldout() -> int:
  """The N of --validation=heldout:N; 0 for cv."""
  kind, _, n = FLAGS.validation.partition(":")
  if FLAGS.validation == "cv":
    return 0
  if kind != "heldout" or not n.isdecimal() or int(n) < 1:
    raise UserError(f"--validation={FLAGS.validation}: expected cv, or heldout:N with N labels, such as heldout:5000.")
  return int(n)


def label_counts(dataset: Any, heldout: int) -> list[int]:
  """The numbers of --labels, ascending; percentages are of the labels that `heldout` leaves, which `all` means.

  Raises:
    UserError: one that is no number or percentage (how many fit is checked later).
  """
  positive("seeds")
  counts, everything = set(), len(dataset.train) - heldout
  for text in map(str.strip, FLAGS.labels):
    percent = re.fullmatch(r"(\d+\.?\d*|\.\d+)%", text)
    if text != "all" and not text.isdecimal() and not (percent and 0 < float(percent[1]) <= 100):
      raise UserError(
        f"--labels={','.join(FLAGS.labels)}: {text!r} is neither a number of labels, a percentage such as 10%, nor all."
      )
    counts.add(round(everything * float(percent[1]) / 100) if percent else everything if text == "all" else int(text))
  if not counts:
    raise UserError("--labels=: name at least one number of labels, such as --labels=100.")
  return sorted(counts)


def say(line: str) -> None:
  """Progress of long work, on stderr: one line that replaces itself on a terminal, else one line each."""
  end = "\033[K\r" if sys.stderr.isatty() else "\n"
  print(line, end=end, file=sys.stderr, flush=True)


def default(**values: Any) -> None:
  """Sets flags that were not given: what an experiment's own defaults are."""
  for name, value in values.items():
    if not FLAGS[name].present:
      FLAGS[name].value = value


def given_flags() -> dict[str, Any]:
  """Our flags with the values they have in this run."""
  return {f.name: f.value for f in FLAGS.flags_by_module_dict().get("experiments.common", [])}


def command(experiment: str) -> str:
  """The command line that repeats this run."""
  changed = [
    f.serialize().replace("\n", " ")
    for f in _own_flags(f"experiments.{experiment}", sys.argv[0])  # absl's name of __main__ is its file
    if f.value != f.default and f.name not in ("fresh", "debug", "compilation_cache")
  ]
  return " ".join([f"python -m experiments.{experiment}", *changed])


def setup(
  features: str,
  method_name: str | None = None,
  hp: Sequence[str] | None = None,
  dataset: Any = None,
  more: Mapping[str, Any] | None = None,
  **changed: Any,
) -> Run:
  """Checks the flags, loads the data, and opens the run directory of this configuration.

  method_name, hp, dataset, and changed (arguments of `pretraining.configuration`): in place of what the flags say.
  more: further entries of the configuration, for what the caller changes in the method.

  The directory's name and config.json are made of what determines the pretrained encoder, so that other labels, modes
  or seeds of the comparison find it again, and the same command after a kill goes on where it stopped.
  """
  from sslx import nn, options
  from sslx.nn.features import parse
  from sslx.pretext import build, check
  from sslx.training.run import configuration

  positive("epochs", "batch_size", "learning_rate")
  method_name = str(method_name or FLAGS.method)
  method = check(method_name)
  values = options.parse(method.factory, FLAGS.hp if hp is None else hp, "--hp")
  names = ("encoder", "epochs", "batch_size", "learning_rate", "seed", "watch")
  names += ("optimizer", "warmup_epochs", "accumulate", "precision")
  training: dict[str, Any] = {name: FLAGS[name].value for name in names}
  training["weight_decay"] = FLAGS.pretraining_weight_decay  # --weight_decay is that of the modes
  training |= changed
  spec = training["encoder"] = training["encoder"] or method.encoder
  encoder = nn.build(spec)
  parse(features, encoder.block_names)
  dataset = dataset or load_dataset(FLAGS.dataset)
  if FLAGS.watch < 0:
    raise UserError(f"--watch={FLAGS.watch}: a number of training images, 0 for none.")
  config = configuration(method_name, dataset, values, features=features, **training) | {"smoke": FLAGS.smoke}
  config |= more or {}
  pretext = build(method_name, nn.build(spec, config["precision"]), features, dataset.num_classes, values)
  name = "-".join(config[k] for k in ("method", "dataset", "encoder"))
  return Run(dataset, encoder, pretext, features, config, open_directory(Path(FLAGS.out), config, name, FLAGS.fresh))


def load_dataset(spec: str) -> Any:
  """The data set of the flags; a few hundred images of it with --smoke."""
  from sslx import data

  positive("image_size", "in_memory_limit")
  dataset = data.load(spec, FLAGS.data_dir, FLAGS.image_size, FLAGS.in_memory_limit)
  return _small(dataset) if FLAGS.smoke else dataset


def given_checkpoint() -> Path:
  """The folder of --checkpoint. Raises UserError where the flag is missing."""
  if not FLAGS.checkpoint:
    raise UserError(
      "--checkpoint is missing: name a run directory, such as --checkpoint=runs/denoise-mnist-conv-1a2b3c4d."
    )
  return Path(FLAGS.checkpoint)


def adopt(meta: dict[str, Any], also: Sequence[str] = ()) -> None:
  """Sets the flags of pretraining (and of `also`), and --features, to what the checkpoint of `meta` was made with.

  Raises:
    UserError: one was given, and is another.
  """
  from sslx import options
  from sslx.pretext import check
  from sslx.training.run import BEFORE

  config, method = {**BEFORE, **meta["config"]}, check(meta["method"])
  made = {"method": meta["method"], **{name: config[name] for name in ("encoder", "epochs", "seed", *also)}}
  made |= {n: config[n] for n in ("batch_size", "learning_rate", "optimizer") if config[n] != getattr(method, n)}
  made |= {n: config[n] for n in ("warmup_epochs", "accumulate", "precision") if config[n] != FLAGS[n].default}
  if config["weight_decay"] != FLAGS["pretraining_weight_decay"].default:
    made["pretraining_weight_decay"] = config["weight_decay"]
  usual = options.assignments(options.resolve(method.factory, {}))
  made["hp"] = [text for text in options.assignments(config["hp"]) if text not in usual]
  for name, value in made.items():
    if FLAGS[name].present and FLAGS[name].value != value:
      raise UserError(f"--{name}={FLAGS[name].value}: the checkpoint was made with {value}; leave --{name} out.")
  default(**made, features=meta["features"])


def checkpoint_dataset(meta: dict[str, Any]) -> Any:
  """The data set of --dataset, or else the one that the checkpoint of `meta` was made on.

  Raises:
    UserError: its images are of another shape than the checkpoint's.
  """
  dataset = load_dataset(FLAGS.dataset if FLAGS["dataset"].present else meta["config"]["dataset"])
  if list(dataset.image_shape) != meta["image_shape"]:
    raise UserError(
      f"--dataset={dataset.name}: its images are {dataset.image_shape}, this encoder was made for "
      f"{tuple(meta['image_shape'])}; try --image_size={meta['image_shape'][0]} or another --checkpoint."
    )
  return dataset


def open_directory(out: Path, config: dict[str, Any], name: str, fresh: bool) -> Path:
  """The run directory of `config` below `out`, made if need be; config.json in it says what it belongs to.

  It is called `name` and a digest of `config`.

  Raises:
    UserError: it is not writable, or config.json in it is of another configuration.
  """
  from sslx.report import records

  text = json.dumps(config, indent=2, sort_keys=True) + "\n"
  digest = hashlib.sha256(text.encode()).hexdigest()[:8]
  directory = (out / (re.sub(r"[^\w.=]+", "-", name)[:80].strip("-") + "-" + digest)).absolute()
  try:
    if fresh and directory.exists():
      shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.json"
    if not path.exists():
      records.write_text(path, text)
    elif path.read_text() != text:
      raise UserError(
        f"--out={out}: {directory} belongs to another configuration (see its config.json); use --fresh or another --out."
      )
    if not os.access(directory, os.W_OK):
      raise PermissionError(f"{directory} is read-only")
  except OSError as error:
    raise UserError(
      f"--out={out}: cannot write there ({error.strerror or error}); name a folder you may write to."
    ) from error
  return directory


def pretrain(run: Run) -> tuple[dict[str, Any], float]:
  """({'params', 'stats'} of the pretrained encoder, seconds spent in this call); restores what is already there.

  Draws the loss curve and what the method sees and makes into figures/, when it trained.
  """
  import jax
  import jax.numpy as jnp

  from sslx.modalities import views
  from sslx.report import figures, records
  from sslx.training import checkpoint, run as pretraining
  from sslx.ops.image import to_float

  begin = time.monotonic()
  config, checkpoints = run.config, run.directory / "checkpoints"
  fixed = SMOKE_STEPS if config["smoke"] else None
  plan = pretraining.plan(run.pretext, config, run.features, run.dataset, fixed, FLAGS.online_knn)
  restored = checkpoint.restore(checkpoints, pretraining.shapes(plan))
  steps, ts = plan.steps, restored or pretraining.start(plan)
  done = int(ts.step)
  if restored and done < steps:
    print(f"continuing at step {done} of {steps}", file=sys.stderr)
  metrics = run.directory / "metrics.jsonl"
  # What a kill left beyond the checkpoint goes.
  records.write_rows(metrics, [row for row in records.read_rows(metrics) if row["step"] <= done])
  if done < steps:
    ts = pretraining.run(
      plan,
      ts,
      log=lambda row: records.append_row(metrics, row),
      save=lambda ts: checkpoint.save(checkpoints, ts, plan.meta),
      save_seconds=FLAGS.save_seconds,
      title=f"pretraining {config['method']}",
    )
    figures_dir = run.directory / "figures"
    figures.save(figures.loss_curve(records.read_rows(metrics)), figures_dir / "loss.png")
    if run.pretext.show:
      few = {name: np.asarray(array[np.arange(min(10, len(array)))]) for name, array in plan.data.items()}
      pictures = pretraining.pictures(run.pretext, ts.params, ts.state, jax.random.key(1), few)
      figures.save(figures.picture_rows(pictures), figures_dir / "pretext.png")
      if "view1" in jax.eval_shape(run.pretext.transform, jax.random.key(1), few):  # views of whole images
        seen = views.pictures(config["hp"]["views"], jax.random.key(1), to_float(jnp.asarray(few["image"])))
        figures.save(
          figures.picture_rows({title: np.asarray(row) for title, row in seen.items()}), figures_dir / "views.png"
        )
  encoder = {"params": ts.params["encoder"], "stats": ts.state["encoder"]}
  return jax.device_get(encoder), time.monotonic() - begin


def restore_pretext(directory: Path) -> Restored:
  """All of a finished or interrupted pretraining run: its method with its hyper-parameters, and what it learnt.

  directory: a run directory, its checkpoints folder, or one checkpoint in it.

  Raises:
    UserError: no checkpoint there, none intact, or one of another version of the method.
  """
  from sslx import nn
  from sslx.training.run import restore

  pretext, ts, meta = restore(directory)
  return Restored(pretext, nn.build(meta["encoder"]), ts.params, ts.state, meta)


def _small(dataset: Any) -> Any:
  """The first few hundred images of each split, for --smoke."""

  def head(split: Any, n: int) -> Any:
    rows = np.arange(min(n, len(split)))
    labels = None if split.labels is None else split.labels[rows]
    return dataclasses.replace(split, images=split.images[rows], labels=labels)

  small = {"train": head(dataset.train, SMOKE_IMAGES), "test": head(dataset.test, SMOKE_IMAGES // 2)}
  if dataset.unlabeled is not None:
    small["unlabeled"] = head(dataset.unlabeled, SMOKE_IMAGES // 2)
  return dataclasses.replace(dataset, **small)
