"""The order of the files and a constant learning rate, which a published notebook has:
nothing else changes with them."""

import numpy as np
import pytest

from sslx.data.batches import step_indices
from sslx.training import optim
from sslx.training.config import Config


def test_file_order_and_a_constant_rate_leave_other_configurations_alone(toy):
  for first in (0, 5):  # a resumed run sees what the uninterrupted one saw
    steps = step_indices(0, 10, 3, first, 7, shuffle=False)
    assert [list(i) for i in steps] == [[3 * (k % 3) + j for j in range(3)] for k in range(first, 7)]
  usual = Config(method="rotation").resolved(toy).to_json()
  assert (usual["schedule"], usual["shuffle"]) == ("cosine", True)
  changed = Config(method="rotation", schedule="constant", shuffle=False).resolved(toy).to_json()
  assert changed == {**usual, "schedule": "constant", "shuffle": False}
  rate = optim.schedule("constant", 0.1, 50, 2)
  np.testing.assert_allclose([rate(i) for i in (0, 1, 2, 49)], [0, 0.05, 0.1, 0.1], rtol=1e-6)
  assert optim.schedule("constant", 0.1, 50)(0) == pytest.approx(0.1)
