"""Images per second of one training step (forward, backward, AdamW), beside PyTorch and Keras on the same models.

    ./launch.sh benchmarks.train_step --json=benchmarks/results/train_step.json

Every framework runs in a process of its own with its default settings, and once more with the allocator setting that
sslx uses. They take turns: each repeat runs all of them, so that what else the machine does meets all alike. The floor
is the model's floating-point operations (as PyTorch counts them) over the fastest matrix product measured here.
"""

from absl import app, flags

from benchmarks import common

FLAGS = flags.FLAGS
flags.DEFINE_string("json", "", "File for the results.")
flags.DEFINE_list("models", [], "Narrows to these models, such as rotnet,conv_groupnorm:512.")
flags.DEFINE_list("frameworks", [], "Narrows to these frameworks.")
flags.DEFINE_integer("repeats", 5, "Rounds.", lower_bound=1)
flags.DEFINE_float("round_seconds", 1.5, "Seconds of a framework in a round.", lower_bound=0.01)

MODELS = (
  ("rotnet", 192),
  ("conv_groupnorm", 256),
  ("conv_groupnorm", 512),
  ("denoise_conv", 256),
  ("autoencode_mlp", 512),
  ("resnet18", 64),
)
FRAMEWORKS = {  # name -> (worker's framework, environment)
  "sslx": ("sslx", common.OURS),
  "PyTorch": ("torch", {}),
  "PyTorch, our allocator": ("torch", common.OURS),
  "PyTorch compile": ("torch.compile", {}),
  "PyTorch compile, our allocator": ("torch.compile", common.OURS),
  "Keras": ("keras", {}),
  "Keras, our allocator": ("keras", common.OURS),
}


def matmul_rate() -> float:
  """The fastest float32 matrix product of jax and PyTorch, in operations per second."""
  workers = {n: common.Worker("benchmarks.train_worker", [n, "matmul", "1"], {}) for n in ("sslx", "torch")}
  rates = common.take_turns(workers, 3, 1.0)
  for worker in workers.values():
    worker.close()
  return max(rate for each in rates.values() for rate in each)


def main(_: list[str]) -> None:
  """Runs what the flags ask for."""
  wanted = [(m, b) for m, b in MODELS if not FLAGS.models or {m, f"{m}:{b}"} & set(FLAGS.models)]
  frameworks = {n: f for n, f in FRAMEWORKS.items() if not FLAGS.frameworks or n in FLAGS.frameworks}
  if not wanted or not frameworks:
    raise app.UsageError(f"no such model or framework; models: {MODELS}; frameworks: {list(FRAMEWORKS)}")
  rate = matmul_rate()
  print(f"float32 matrix product: {rate / 1e9:.0f} GFLOP/s")
  rows = []
  for model, batch in wanted:
    print(f"{model}, batch {batch}", flush=True)
    workers = {
      name: ("benchmarks.train_worker", [kind, model, str(batch)], environment)
      for name, (kind, environment) in frameworks.items()
    }
    measured = common.compare(workers, FLAGS.repeats, FLAGS.round_seconds)
    rows += [{"model": model, "batch_size": batch, **row} for row in measured]
  machine = common.machine("torch", "tensorflow-cpu", "keras")
  common.write_json(FLAGS.json, "train_step", rows, machine=machine, matmul_flops_per_second=rate)


if __name__ == "__main__":
  app.run(main)
