"""Which devices a command computes on: --devices, and all processes' together where there are several."""

import os
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.shared import processes
from experiments.shared.start import is_program
from experiments.shared.terminal import notify
from sslx.types import UserError

if TYPE_CHECKING:
  from jax.sharding import Mesh

FLAGS = flags.FLAGS

flags.DEFINE_string(
  "devices", None, "Devices to compute on, a number or all; of each process, where there are several. A batch is "
  "shared out among them. Default: all accelerators, or one CPU device.",
)  # fmt: skip


def start() -> None:
  """Makes the CPU as many devices as --devices asks for, and this process one of several where it is; before jax is
  asked for its devices.

  Raises:
    UserError: --devices is no number above 0 and not all; the processes do not find one another.
  """
  number = _asked()
  if number and number > 1 and is_program() and "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    import jax

    jax.config.update("jax_num_cpu_devices", number)
  processes.join()


def everywhere(batch_size: int, accumulate: int) -> "Mesh | None":
  """The mesh that a pretraining is on: of the devices of all processes.

  Where none are asked for and a batch does not split over all of one process, of as many as it does split over.

  Raises:
    UserError: fewer devices than asked for, or a batch does not split over those that are.
  """
  import jax

  from sslx.training import parallel

  each = [_of_process(rank) for rank in range(jax.process_count())]
  devices = [device for own in each for device in own]
  part = batch_size // accumulate
  if FLAGS.devices is None and len(each) == 1 and part % len(devices):
    fitting = parallel.fitting(devices, part)
    notify(
      f"a batch of {part} does not split over {len(devices)} devices: on {len(fitting)}; give another --batch_size"
    )
    devices = fitting
  mesh = parallel.mesh_over(devices)
  parallel.check_batch(batch_size, accumulate, mesh)
  return mesh


def here() -> "Mesh | None":
  """The mesh of what comes after pretraining: of the devices of this process."""
  import jax

  from sslx.training import parallel

  return parallel.mesh_over(_of_process(jax.process_index()))


def _of_process(rank: int) -> list[Any]:
  """Raises UserError where it has fewer than are asked for."""
  import jax

  from sslx.training import parallel

  return parallel.some(jax.local_devices(process_index=rank), _asked())


def _asked() -> int | None:
  """--devices as a number, 0 for all; None where it is not given."""
  text = FLAGS.devices
  if text is None or text == "all":
    return None if text is None else 0
  if not text.isdecimal() or int(text) < 1:
    raise UserError(f"--devices={text}: must be a number above 0, or all.")
  return int(text)
