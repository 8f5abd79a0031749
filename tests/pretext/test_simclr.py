"""SimCLR: its loss of the projections, statistics shared by both views, and images without any light."""

import jax
import numpy as np
import pytest
from pretexts import KEY, TINY, apply, make, make_batch

from sslx import losses, nn
from sslx.types import UserError


def test_simclr_is_nt_xent_of_the_projections(batch):
  encoder = nn.build(TINY)
  pretext = make("simclr", TINY, projector=(5, 3), temperature=0.3)
  params, state = pretext.init(KEY, batch)
  views = pretext.transform(KEY, batch)
  assert all(v.shape == batch["x"].shape for v in views.values())
  for i in range(6):
    assert np.abs(views["view1"][i] - views["view2"][i]).max() > 0.01

  @jax.jit
  def project(x):
    code = nn.apply(encoder, params["encoder"], {}, x)[0]["code"]
    return nn.apply(nn.Projector((5, 3)), params["projector"], {}, code)[0]

  value, _ = pretext.loss(params, state, KEY, views)
  expected = losses.nt_xent(project(views["view1"]), project(views["view2"]), 0.3)
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  swapped, _ = pretext.loss(params, state, KEY, {"view1": views["view2"], "view2": views["view1"]})
  np.testing.assert_allclose(swapped, value, rtol=1e-5)


def test_simclr_views_share_batch_statistics(batch):
  """Both views go through in one pass: the statistics are those of all 2B images."""
  pretext = make("simclr", "conv:widths=4,norm=batch")
  params, state = pretext.init(KEY, batch)
  one = make_batch()["x"]
  views = {"view1": one, "view2": np.zeros_like(one)}
  _, (mixed, _) = pretext.loss(params, state, KEY, views)
  both = apply(
    nn.build("conv:widths=4,norm=batch"),
    params["encoder"],
    state["encoder"],
    np.concatenate(list(views.values())),
    train=True,
  )[1]
  for a, b in zip(jax.tree.leaves(mixed["encoder"]), jax.tree.leaves(both), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_black_images_do_not_end_simclr():
  """Fresh biases map a black image to the zero embedding: a norm without care has no gradient there."""
  pretext = make("simclr", TINY)
  batch = {"x": np.zeros((3, 6, 6, 1), np.float32)}
  params, state = pretext.init(KEY, batch)
  view = {name: np.zeros((3, 6, 6, 1), np.float32) for name in ("view1", "view2")}
  (value, _), grads = jax.jit(jax.value_and_grad(pretext.loss, has_aux=True))(params, state, KEY, view)
  assert value == pytest.approx(np.log(5), rel=1e-5)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(
  "hp",
  [
    {"temperature": 0.0},
    {"temperature": -1.0},
    {"temperature": float("nan")},
    {"projector": ()},
    {"projector": (4, 0)},
  ],
)
def test_simclr_refuses(hp):
  with pytest.raises(UserError, match=f"--hp={next(iter(hp))}="):
    make("simclr", TINY, **hp)
