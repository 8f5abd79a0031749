"""A connection from each process of several to the first one, for what has no place in an array."""

import contextlib
import ctypes
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Client, Listener
from typing import Any

from sslx.types import UserError

ADDRESS = 1024  # bytes that the first process tells its address in
Connection = Any  # of multiprocessing.connection, whose classes differ between systems


def connected(rank: int, number: int) -> dict[int, Connection]:
  """By rank: of the first process the connections to all others, of another one that to the first, whose address
  travels by a collective.

  Raises:
    UserError: the first process cannot be reached.
  """
  import numpy as np
  from jax.experimental import multihost_utils

  made: dict[int, Connection] = {}
  box, listener, key = np.zeros(ADDRESS, np.uint8), None, secrets.token_hex(16)
  if rank == 0:
    near = os.environ.get("JAX_COORDINATOR_ADDRESS", "").rpartition(":")[0]
    at_home = near in ("127.0.0.1", "localhost")
    listener = Listener(("127.0.0.1" if at_home else "", 0), backlog=number, authkey=key.encode())
    hosts = [near] if at_home else [*([near] if near else []), *_own_addresses()]
    text = json.dumps({"hosts": hosts, "port": listener.address[1], "key": key}).encode()
    box[: len(text)] = np.frombuffer(text, np.uint8)
  with _silent_stdout():  # gloo writes there that it is connected
    box = np.asarray(multihost_utils.broadcast_one_to_all(box))
  if listener is None:
    address = json.loads(bytes(box).rstrip(b"\0"))
    made[0] = _reached(address["hosts"], address["port"], address["key"].encode())
    send(made[0], {"rank": rank})
  while listener is not None and len(made) < number - 1:
    connection = listener.accept()
    made[receive(connection)["rank"]] = connection
  return made


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
  """Within, what C++ writes to stdout is lost."""
  sys.stdout.flush()
  kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(nothing, 1)
    yield
    with contextlib.suppress(OSError, TypeError):
      ctypes.CDLL(None).fflush(None)  # what C holds back would come out later
  finally:
    os.dup2(kept, 1)
    os.close(kept)
    os.close(nothing)


def _own_addresses() -> list[str]:
  """Names and addresses that other machines may reach this one by, the likeliest first."""
  name = socket.gethostname()
  found = []
  with contextlib.suppress(OSError):
    found = [str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
  return list(dict.fromkeys([*(a for a in found if not a.startswith(("127.", "::1"))), name]))[:8]


def _reached(hosts: list[str], port: int, key: bytes) -> Connection:
  """Raises UserError where none of the addresses answers."""
  for host in hosts:
    with contextlib.suppress(OSError):
      return Client((host, port), authkey=key)
  raise UserError(f"the first process cannot be reached at port {port} of {' or '.join(hosts)}; is a firewall between?")


def send(connection: Connection, message: Mapping[str, Any]) -> None:
  """A message of JSON's types: nothing that is received is run."""
  connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> dict[str, Any]:
  """The next message. Raises OSError or EOFError where the other side is gone."""
  return json.loads(connection.recv_bytes())
