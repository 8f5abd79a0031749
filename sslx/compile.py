"""jax.jit with the compiler settings that are fastest on the platform at hand."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from sslx.types import UserError

# XLA on the CPU hands convolutions, matrix products and element-wise work to the library YNNPACK. It won on reductions
# only: the others ran up to three times faster without (jaxlib 0.10, benchmarks/README.md).
# Devices that share the cores of a machine wait for one another as long as a step takes, which may be more than the 40
# seconds after which XLA ends the process: a process that is gone is noticed otherwise.
DAY = 86_400
CPU = {
  "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
  "xla_cpu_collective_call_terminate_timeout_seconds": DAY,
  "xla_cpu_collective_timeout_seconds": DAY,
}
ONCE = {"xla_backend_optimization_level": 0}


def jit(function: Callable, **options: Any) -> Callable:
  """jax.jit, for what runs many times."""
  return jax.jit(function, compiler_options=cpu_options(), **options)


def jit_once(function: Callable) -> Callable:
  """jax.jit for what runs once: on the CPU without compiler optimisation.

  Drawing random weights takes microseconds, and compiling it with optimisation took five seconds of the start-up.
  """
  return jax.jit(function, compiler_options=ONCE if jax.default_backend() == "cpu" else None)


@functools.cache
def cpu_options() -> dict[str, Any] | None:
  """What the installed XLA knows of CPU, where this is the platform (its options came after jax 0.7)."""
  if jax.default_backend() != "cpu":
    return None
  if _is_known(CPU):
    return CPU
  return {name: value for name, value in CPU.items() if _is_known({name: value})} or None


def _is_known(options: dict[str, Any]) -> bool:
  try:
    jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
  except Exception:  # the class differs between versions
    return False
  return True


def check_floats() -> None:
  """Raises UserError where jax computes in float64 what is float32 here: it would be another run under the same name,
  and a checkpoint of one does not fit the other.
  """
  if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
    raise UserError("JAX_ENABLE_X64: sslx computes in float32, and its runs are of float32; unset JAX_ENABLE_X64.")
