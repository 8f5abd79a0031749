"""Several processes as one program: `jax.distributed`, where the environment says so, and what they say to one another.

The first process runs the experiment. It alone writes rows, pages, checkpoints and progress. The others lend their
devices: they wait for its pretrainings (`follow`), take every step of them with it, and end when it ends.

Arrays go the way of jax: over the collectives of its mesh. What has no place in an array (which pretraining is next,
after which step all stop, why one has failed) goes over a connection from each process to the first one. The system
closes it when a process ends, however it does: so the others learn within a second that, and which, one is gone, where
a collective would wait for it. Where a whole machine falls silent, jax's own heartbeat ends the others.

Environments: SLURM and Open MPI as `jax.distributed` knows them; JAX_COORDINATOR_ADDRESS with JAX_NUM_PROCESSES and
JAX_PROCESS_ID, as `launch.sh --processes` and `launchers/kubernetes.yaml` set them; SSLX_DISTRIBUTED=1 for what else
jax detects by itself, such as the workers of a Cloud TPU.
"""

import contextlib
import importlib.util
import inspect
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from experiments.shared import connections, machine
from sslx.types import UserError

HEARTBEAT = 20  # seconds of silence after which jax takes a process for dead
GRACE = 3.0  # seconds in which a failed process listens whether another one knows why
BETWEEN = 1.0  # seconds between two agreements on whether to stop
WORLDS = {"JAX_NUM_PROCESSES": "JAX_PROCESS_ID", "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK"}  # size: own number
ONE = ("", "0", "1")  # sizes of what is no more than one process
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")


class Group(NamedTuple):
  """What one process has of the others."""

  rank: int
  count: int
  connections: dict[int, connections.Connection]
  """By rank: of the first process to all others, of another one to the first."""
  inbox: queue.SimpleQueue
  """Messages of the first process that its main thread waits for."""
  stops: list[int]
  """Signals that other processes have got, or this one."""
  ending: threading.Event


_GROUP: list[Group] = []  # of this process, for its whole life, as jax's own client is


def wanted() -> bool:
  """Whether the environment says that this process is one of several."""
  if os.environ.get("SSLX_DISTRIBUTED") == "1":
    return True
  if any(os.environ.get(name, "1") not in ONE for name in WORLDS):
    return True
  return all(name in os.environ for name in SLURM) and os.environ.get("SLURM_NTASKS", "1") not in ONE


def join() -> None:
  """Makes this process one of several, where the environment says so; before jax is asked for its devices.

  Raises:
    UserError: the others cannot be reached.
  """
  if _GROUP or not wanted():
    return
  import jax

  if _on_cpu(jax.config.jax_platforms):  # type: ignore[attr-defined]
    # One thread each: several would begin collectives that do not depend on one another in another order in another
    # process, and gloo then takes one for the other (jaxlib 0.10: resnet18 in two processes, at every start).
    os.environ["NPROC"] = "1"
  explicit: dict[str, Any] = {}
  size = next((name for name in WORLDS if name in os.environ), None)
  if size is not None and "JAX_COORDINATOR_ADDRESS" in os.environ:
    explicit = {"num_processes": _number(size), "process_id": _number(WORLDS[size])}
  elif size == "JAX_NUM_PROCESSES":
    raise UserError("JAX_COORDINATOR_ADDRESS: missing; JAX_NUM_PROCESSES needs it beside it, as HOST:PORT.")
  with contextlib.suppress(AttributeError):  # it takes SIGTERM for itself, of which `loop.fit` makes a checkpoint
    jax.config.update("jax_enable_preemption_service", False)
  patience: dict[str, Any] = {
    "initialization_timeout": 120,
    "heartbeat_timeout_seconds": HEARTBEAT,
    "shutdown_timeout_seconds": 10,
  }
  known = inspect.signature(jax.distributed.initialize).parameters  # the last one came after jax 0.7
  try:
    jax.distributed.initialize(**explicit, **{name: patience[name] for name in patience if name in known})
  except Exception as error:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise UserError(
      f"jax.distributed: the processes do not find one another ({line[:200].rstrip('.')}); start all of them, and name "
      "HOST:PORT of the first in JAX_COORDINATOR_ADDRESS."
    ) from error
  if jax.process_count() > 1:
    _GROUP.append(_group())


def _on_cpu(platforms: str | None) -> bool:
  """Whether jax will compute on the CPU: it is told so, or has nothing else installed."""
  if platforms:
    return platforms == "cpu"
  return not entry_points(group="jax_plugins") and importlib.util.find_spec("libtpu") is None


def count() -> int:
  """How many processes there are."""
  return _GROUP[0].count if _GROUP else 1


def follows() -> bool:
  """Whether this process is another than the first."""
  return bool(_GROUP) and _GROUP[0].rank > 0


# ---- the first process -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def leading() -> Iterator[None]:
  """Within, the first process of several runs the experiment; at the end of it, however it comes, the others end."""
  if not _GROUP:
    yield
    return
  from sslx.training.loop import Interrupted

  try:
    yield
  except (Interrupted, KeyboardInterrupt):
    _end(_GROUP[0], 130)
    raise
  except UserError:
    _end(_GROUP[0], 1)
    raise
  except Exception:
    time.sleep(GRACE)  # a collective that another process's end has broken: who hears of that ends this process
    _end(_GROUP[0], 1)
    raise
  _end(_GROUP[0], 0)


def call(message: Mapping[str, Any]) -> None:
  """Tells the others what comes next; each `follow`s."""
  for connection in _GROUP[0].connections.values() if _GROUP else ():
    connections.send(connection, dict(message))


def spread(tree: Any) -> Any:
  """A tree of arrays as the first process has it, in all of them, which call this together; on the host.

  As bytes: jax sums them up, and a sum would lose the sign of a zero. As one array: several would be sent in an order
  of the compiler's.
  """
  if not _GROUP:
    return tree
  import jax
  import numpy as np
  from jax.experimental import multihost_utils

  from sslx.training import parallel

  keys = jax.tree.map(parallel.is_key, tree)
  plain = jax.tree.map(lambda leaf, key: np.asarray(jax.random.key_data(leaf) if key else leaf), tree, keys)
  leaves, structure = jax.tree.flatten(plain)
  content = np.frombuffer(b"".join(leaf.tobytes() for leaf in leaves), np.uint8)
  ends = np.cumsum([leaf.nbytes for leaf in leaves])[:-1]
  parts = np.split(np.asarray(multihost_utils.broadcast_one_to_all(content)), ends)
  pairs = zip(parts, leaves, strict=True)
  sent = [np.frombuffer(part.tobytes(), leaf.dtype).reshape(leaf.shape) for part, leaf in pairs]
  back = jax.tree.unflatten(structure, sent)
  return jax.tree.map(lambda a, key: jax.random.wrap_key_data(jax.numpy.asarray(a)) if key else a, back, keys)


def agree() -> Callable[[int, signal.Signals | None], signal.Signals | None]:
  """A `Loop.agree` of all processes: about every second the first one says whether all stop after this step, and after
  which step it will say so next. A process that gets a signal tells the first one at once.
  """
  if not _GROUP:
    return lambda step, got: got
  group, asked_at, asked_next, told = _GROUP[0], time.monotonic(), 0, False
  last = 0

  def decide(step: int, got: signal.Signals | None) -> signal.Signals | None:
    nonlocal asked_at, asked_next, told, last
    if group.rank:
      if got and not told:
        told = True
        connections.send(group.connections[0], {"stop": int(got)})
      if step < asked_next:
        return None
      message = group.inbox.get()
      asked_next = message["next"]
    elif step >= asked_next:
      now = time.monotonic()
      each = (now - asked_at) / max(1, step - last)
      asked_at, last, asked_next = now, step, step + max(1, min(1000, int(BETWEEN / max(each, 1e-4))))
      message = {"stops": int(got or (group.stops[0] if group.stops else 0)), "next": asked_next}
      call(message)
    else:
      return None
    return signal.Signals(message["stops"]) if message["stops"] else None

  return decide


def _end(group: Group, status: int) -> None:
  """Lets the others end with this exit status, and jax's service with them."""
  import jax

  group.ending.set()
  for connection in group.connections.values():
    with contextlib.suppress(OSError):
      connections.send(connection, {"end": status})
  with contextlib.suppress(Exception):
    jax.distributed.shutdown()


# ---- the others ------------------------------------------------------------------------------------------------------


def follow(train: Callable[[Mapping[str, Any]], None]) -> None:
  """In another process than the first: does with `train` what that one calls for, until it ends; never returns.

  Nothing is printed: what goes wrong is told by the first process.
  """
  group = _GROUP[0]

  def got(number: int, frame: Any) -> None:
    group.stops.append(number)
    with contextlib.suppress(OSError):
      connections.send(group.connections[0], {"stop": number})

  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, got)
  from sslx.training.loop import Interrupted

  silence = open(os.devnull, "w")  # noqa: SIM115  # for the rest of this process
  sys.stdout = sys.stderr = silence
  while True:
    try:
      train(group.inbox.get())
    except Interrupted:
      continue
    except KeyboardInterrupt:  # the second one: the first process has got it too
      os._exit(130)
    except BaseException as error:
      time.sleep(GRACE)  # the first process may have failed for the same reason, and say so
      why = str(error) if isinstance(error, UserError) else machine.reason(error) or f"{type(error).__name__}: {error}"
      with contextlib.suppress(OSError):
        connections.send(group.connections[0], {"failed": machine.one_line(why)})
      time.sleep(GRACE)
      os._exit(1)


# ---- listening -------------------------------------------------------------------------------------------------------


def _group() -> Group:
  """This process among the others, all of whom it listens to from now on."""
  import jax

  rank, number = jax.process_index(), jax.process_count()
  group = Group(rank, number, connections.connected(rank, number), queue.SimpleQueue(), [], threading.Event())
  for other, connection in group.connections.items():
    threading.Thread(target=_listen, args=(group, other, connection), daemon=True).start()
  return group


def _listen(group: Group, other: int, connection: connections.Connection) -> None:
  """In a thread of its own: hears all that one process says, and that it is gone."""
  while True:
    try:
      message = connections.receive(connection)
    except (OSError, EOFError):
      if not group.ending.is_set():
        _fail(group, other, "has ended without a word (killed, or its machine is gone)")
      return
    if "failed" in message:
      _fail(group, message.get("who", other), message["failed"])
    elif "end" in message:
      group.ending.set()
      _leave(message["end"])
    elif "stop" in message:
      group.stops.append(message["stop"])
    else:
      group.inbox.put(message)


def _fail(group: Group, who: int, why: str) -> None:
  """Ends this process. The first one says why, and tells the others; where it is the first that is gone, they do."""
  group.ending.set()
  if group.rank == 0:
    for connection in group.connections.values():
      with contextlib.suppress(OSError):
        connections.send(connection, {"failed": why, "who": who})
  if group.rank == 0 or (who == 0 and group.rank == 1 and not group.stops):  # it may have got the same signal
    line = f"error: process {who} of {group.count}: {why}; all are ended. Run the same command to go on."
    with contextlib.suppress(OSError):
      os.write(2, f"{machine.one_line(line)}\n".encode())
  os._exit(1)


def _leave(status: int) -> None:
  """Ends this process with the first one, from whatever its main thread does."""
  import jax

  with contextlib.suppress(Exception):
    jax.distributed.shutdown()
  os._exit(status)


def _number(name: str) -> int:
  try:
    return int(os.environ[name])
  except (KeyError, ValueError):
    raise UserError(f"{name}: must be a number, of one of several processes.") from None
