"""Winner-take-all: losses by hand, gradients to winners only, dense features, reconstructions from winners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretexts import KEY, apply, build, features, jitted, pixels, prepared
from sparsity import naive_lifetime, naive_spatial

from sslx import nn
from sslx.pretext import METHODS
from sslx.types import UserError


def loss_of(method, encoder, image, **hp):
  """(pretext, params, state, view, the loss of params) on such images."""
  pretext = jitted(build(method, encoder, hp))
  params, state = pretext.init(KEY, {"x": image})
  view = pretext.transform(KEY, {"x": image})
  return pretext, params, state, view, lambda params: pretext.loss(params, state, KEY, view)[0]


def images(n, height=8, width=6, seed=0):
  return prepared(pixels(n, height, width, 1, seed))


def test_wta_is_its_equation():
  image = images(30)
  _, params, _, view, loss = loss_of("wta", "mlp:widths=12,code=0", image, rate=0.1)
  x = np.asarray(view["x"]).reshape(30, -1)
  layers = params["encoder"]["dense1"]["Dense_0"], params["decoder"]["Dense_0"]

  def expected(layers):
    h = jnp.maximum(x @ layers[0]["kernel"] + layers[0]["bias"], 0)
    code = jnp.where(naive_lifetime(np.asarray(jax.lax.stop_gradient(h)), 0.1), h, 0)
    return jnp.square(code @ layers[1]["kernel"] + layers[1]["bias"] - x).mean()

  value, gradient = jax.value_and_grad(expected)(layers)  # the winners as constants: only they have a gradient
  np.testing.assert_allclose(loss(params), value, rtol=1e-5)
  got = jax.jit(jax.grad(loss))(params)
  got = got["encoder"]["dense1"]["Dense_0"], got["decoder"]["Dense_0"]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), got, gradient)


def test_conv_wta_draws_one_kernel_for_every_winner():
  """The reconstruction is the bias and, for each map and each of its k samples, its kernel at its place."""
  image = images(10, 9, 9)
  pretext, params, state, view, loss = loss_of("conv_wta", "conv:widths=3-4,down=none", image, rate=0.2)
  h = np.asarray(apply(nn.build("conv:widths=3-4,down=none"), params["encoder"], {}, view["x"])[0]["block2"])
  won = naive_lifetime(h, 0.2) & naive_spatial(h)
  assert (won.sum((0, 1, 2)) == 2).all()
  layer = jax.tree.map(np.asarray, params["decoder"]["ConvTranspose_0"])
  canvas = np.zeros((10, 9 + 10, 9 + 10))
  for sample, row, column, unit in np.argwhere(won):
    # a transposed convolution with stride 1 and SAME padding correlates: the kernel lands flipped
    stamp = layer["kernel"][::-1, ::-1, unit, 0]
    canvas[sample, row : row + 11, column : column + 11] += h[sample, row, column, unit] * stamp
  drawn = canvas[:, 5:-5, 5:-5, None] + layer["bias"]
  np.testing.assert_allclose(loss(params), np.square(drawn - view["x"]).mean(), rtol=1e-4)
  active = pretext.loss(params, state, KEY, view)[1][1]["active"]
  np.testing.assert_allclose(active, (won & (h != 0)).mean(), rtol=1e-5)


@pytest.mark.parametrize(("method", "encoder"), [("wta", "mlp:widths=12,code=0"), ("conv_wta", "conv:widths=3-4")])
def test_features_are_not_sparse(method, encoder):
  image = images(10)
  _, params, state, _, _ = loss_of(method, encoder, image)
  block = nn.build(encoder).block_names[-1]
  h = np.asarray(apply(nn.build(encoder), params["encoder"], {}, image)[0][block])
  np.testing.assert_allclose(features(encoder, params, state, image), h.reshape(10, -1), rtol=1e-5, atol=1e-6)
  # and each image alone: nothing reads the batch
  alone = np.concatenate([features(encoder, params, state, image[i : i + 1]) for i in range(3)])
  np.testing.assert_allclose(alone, h[:3].reshape(3, -1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("method", "encoder"), [("wta", "mlp:widths=12,code=0"), ("conv_wta", "conv:widths=3-4")])
def test_what_is_shown_is_what_was_trained(method, encoder):
  """The winners of the batch are decoded: a sum of all units is a white blob, however good the loss was."""
  image = images(40)
  pretext, params, state, view, loss = loss_of(method, encoder, image, rate=0.1, output="sigmoid")
  shown = pretext.show(params, state, KEY, {"x": image})["reconstruction"]
  np.testing.assert_allclose(np.square(shown - view["x"]).mean(), loss(params), rtol=1e-5)
  block = nn.build(encoder).block_names[-1]
  h = apply(nn.build(encoder), params["encoder"], {}, image)[0][block]
  everything = pretext.decode(params, state, h, image.shape[1:])
  assert not np.allclose(shown, everything, atol=1e-3)
  np.testing.assert_allclose(pretext.decode(params, state, pretext.sparse(h), image.shape[1:]), shown, atol=1e-6)


def test_rate_one_is_the_plain_autoencoder():
  image, same = images(10), {"output": "linear", "loss": "mse", "decoder": "mlp", "decoder_widths": None}
  *_, params, _, _, loss = loss_of("wta", "mlp:widths=12,code=5", image, rate=1.0)
  *_, plain = loss_of("autoencode", "mlp:widths=12,code=5", image, **same)
  np.testing.assert_allclose(loss(params), plain(params), rtol=1e-6)


def test_conv_wta_on_a_dense_code_is_wta():
  image, same = images(20), {"decoder": "mlp", "rate": 0.1}
  *_, params, _, _, loss = loss_of("conv_wta", "mlp:widths=12,code=5", image, **same)
  *_, dense = loss_of("wta", "mlp:widths=12,code=5", image, **same)
  assert float(loss(params)) == float(dense(params))


@pytest.mark.parametrize("method", ["wta", "conv_wta"])
@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, float("nan")])
def test_bad_rate_is_refused(method, rate):
  with pytest.raises(UserError, match=rf"^--hp=rate={rate:g}: must be in \(0, 1\]"):
    METHODS[method].factory(nn.build("mlp"), rate=rate)
