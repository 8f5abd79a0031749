"""What a train step sends: programs are read right, and of most methods gradients and statistics are all there is."""

import json
import math

import jax
import numpy as np
import pytest

from benchmarks import collectives, programs, scale_tables
from benchmarks.collectives import Collective
from benchmarks.programs import Program

PROGRAM = """HloModule jit_step, num_partitions=4

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  ROOT %sum = f32[] add(%x, %y)
}

%inner (p: (f32[8])) -> (f32[8]) {
  %g = f32[8]{0} all-gather(%v), channel_id=1, replica_groups={{0,1},{2,3}}, dimensions={0}
}

%outer (p: (f32[8])) -> (f32[8]) {
  %w = (f32[8]) while(%p), condition=%c, body=%inner, backend_config={"known_trip_count":{"n":"5"}}
  %q = f32[2,2]{1,0} collective-permute(%v), channel_id=2, source_target_pairs={{0,1}}
}

%c (p: (f32[8])) -> pred[] {
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %w = (f32[8]) while(%p), condition=%c, body=%outer, backend_config={"known_trip_count":{"n":"3"}}
  %r = (bf16[4,2]{1,0}, f32[]) all-reduce(%a, %b), channel_id=3, replica_groups=[1,4]<=[4], to_apply=%add
  %n = f32[9]{0} all-reduce(%a), channel_id=4, replica_groups=[4,1]<=[4], to_apply=%add
}
"""


def test_collectives_of_loops_count_as_often_as_they_run():
  assert collectives.collectives(PROGRAM) == [
    Collective("all-gather", 32, 2, 15),
    Collective("collective-permute", 16, 4, 3),
    Collective("all-reduce", 20, 4, 1),  # the one among single devices sends nothing
  ]


def test_a_loop_of_unknown_length_is_not_counted_as_one():
  with pytest.raises(ValueError, match="unknown length"):
    collectives.collectives(PROGRAM.replace("known_trip_count", "unknown"))


def test_bytes_that_a_ring_sends():
  assert Collective("all-reduce", 100, 4, 2).sent == 300  # 3/4 to be summed, 3/4 to be told, twice
  assert Collective("all-gather", 100, 4, 1).sent == 75
  assert Collective("reduce-scatter", 25, 4, 1).sent == 75  # its result is a quarter
  assert Collective("all-to-all", 100, 4, 1).sent == 75
  assert Collective("collective-permute", 100, 4, 1).sent == 100


EMBEDDINGS = 2 * 32 * 12 * 4
"""Bytes of the embeddings of both views of all images."""


@pytest.mark.parametrize(
  ("method", "hp", "gathers"),
  [
    ("denoise", {}, []),
    ("rotation", {"head": "linear"}, []),
    ("simclr", {"projector": (12,)}, [EMBEDDINGS // 2, EMBEDDINGS]),
    ("byol", {"projector": (12,), "predictor": (12,)}, [EMBEDDINGS // 2]),
    ("swav", {"projector": (12,), "prototypes": 4, "queue": 64}, [EMBEDDINGS // 2] * 3),
    ("moco", {"projector": (12,), "queue": 64}, [EMBEDDINGS // 2] * 2),
    ("colorize", {}, []),
  ],
)
def test_no_image_leaves_its_device(method, hp, gathers):
  """All-gathers are of embeddings: of half of them for the metrics of `losses.spread`, and of those that a loss or a
  queue needs. All-reduces are not larger than the gradient, the embeddings' among them.
  """
  step = programs.compiled(Program(method, "mlp:widths=16", 32, (8, 8, 3), 4, hp))
  counted = collectives.collectives(step.as_text())
  assert {each.kind for each in counted} <= {"all-reduce", "all-gather"}
  assert sorted(each.bytes for each in counted if each.kind == "all-gather") == gathers
  params = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(step.args_info[0][0].params))
  assert sum(each.bytes for each in counted if each.kind == "all-reduce") < 4 * params + 2 * EMBEDDINGS + 2000


def test_accelerators_get_their_own_branch_and_the_cpu_its_own_again():
  before = jax.lax.platform_dependent
  with programs.for_accelerators():
    assert jax.lax.platform_dependent(np.ones(2), cpu=lambda x: x, default=lambda x: x + 1).tolist() == [2, 2]
  assert jax.lax.platform_dependent is before


def test_what_is_kept_for_the_gradient_is_what_layers_multiply_with():
  """Of two dense layers with a relu between them: their inputs, and where the relu lets through."""
  program = Program("autoencode", "mlp:widths=16,code=8", 32, (4, 4, 1), 1)
  kept = [programs.kept_for_the_gradient(each) for each in (program, program._replace(batch=64))]
  parts = programs.kept_for_the_gradient(program._replace(batch=64, accumulate=2))
  assert kept[0] > 4 * 32 * (16 + 16 + 8)
  assert kept[1] == pytest.approx(2 * kept[0], rel=0.05)
  assert parts == kept[0]


def test_tables_of_scale_say_what_was_left_out(tmp_path):
  program = Program("simclr", "resnet50", 4096, (224, 224, 3), 8)._asdict()
  sent = {"all-reduce": {"sent": 90e6}, "all-gather": {"sent": 9e6}, "all-to-all": {"sent": 1e6}}
  machine = {"cpu": "a processor", "cores": 2, "versions": {"jax": "0.10", "jaxlib": "0.10"}}
  way = {"model": "conv", "kind": "strong", "batch_size": 8, "spread": [1, 3]}
  results = {
    "communication": [{**program, "parameters": 45e6, "kinds": sent}, {**program, "error": "took too long"}],
    "device_memory": [
      {**program, "state": 2**30, "temporaries": 2**31, "total": 3 * 2**30, "kept": 2**29, "remat": True},
      {**program, "error": "took too long"},
    ],
    "scaling": [
      {**way, "processes": 1, "devices": 1, "images_per_second": 200},
      {**way, "processes": 2, "devices": 1, "images_per_second": 150},
    ],
  }
  page, files = tmp_path / "scale.md", []
  page.write_text("".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in results))
  for name, rows in results.items():
    files.append(str(tmp_path / f"{name}.json"))
    (tmp_path / f"{name}.json").write_text(json.dumps({"benchmark": name, "machine": machine, "rows": rows}))
  scale_tables.main(files, page)
  text = " ".join(page.read_text().split())
  assert "old" not in text
  assert "| 45.0 | 90.0 | 9.0 | 1.0 | 100.0 | 0.2 | 0.5 | 2.0 | 8.0 |" in text
  assert "| float32, remat | 1.00 | 2.00 | 3.00 | 0.50 |" in text
  assert text.count("took too long") == 2
  assert "| conv | 2 x 1 | strong | 8 | 150 | [1, 3] | 0.75 |" in text
