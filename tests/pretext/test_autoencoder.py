"""Autoencoders: reconstructions by hand, decoders that fit their encoders, outputs that fit their losses."""

import jax
import numpy as np
import pytest
from pretexts import KEY, TINY, apply, build, make, make_batch

from sslx import nn
from sslx.pretext.families.autoencoder import decoder_for
from sslx.types import UserError


def test_decode_is_the_way_from_the_last_block_to_the_reconstruction(batch):
  """For a flat and a spatial code, and for another batch size and image size than at init."""
  for spec in (TINY, "conv:widths=4-3", "conv:widths=4,code=3"):
    pretext, encoder = make("autoencode", spec), nn.build(spec)
    params, state = pretext.init(KEY, batch)
    other = make_batch(2)
    code = apply(encoder, params["encoder"], state["encoder"], other["x"])[0][encoder.block_names[-1]]
    shown = pretext.show(params, state, KEY, other)["reconstruction"]
    np.testing.assert_allclose(pretext.decode(params, state, code, (6, 6, 1)), shown, atol=1e-6, err_msg=spec)


def test_tied_decoder_is_the_transposed_encoder(batch):
  pretext = make("autoencode", TINY, decoder="tied", output="linear", loss="mse")
  params, state = pretext.init(KEY, batch)
  assert set(params["decoder"]) == {"bias0", "bias1"}
  params["decoder"] = {"bias0": np.arange(6.0, dtype=np.float32) / 9, "bias1": np.ones(36, np.float32) / 7}
  kernels = [np.float64(params["encoder"][name]["Dense_0"]["kernel"]) for name in ("dense1", "code")]
  biases = [np.float64(params["encoder"][name]["Dense_0"]["bias"]) for name in ("dense1", "code")]
  h = np.maximum((batch["x"]).reshape(6, -1) @ kernels[0] + biases[0], 0)
  h = (h @ kernels[1] + biases[1]) @ kernels[1].T + params["decoder"]["bias0"]
  expected = np.maximum(h, 0) @ kernels[0].T + params["decoder"]["bias1"]
  x = batch["x"]
  value, _ = pretext.loss(params, state, KEY, pretext.transform(KEY, batch))
  np.testing.assert_allclose(value, np.square(expected.reshape(x.shape) - x).mean(), rtol=1e-4)


def test_autoencoder_is_its_equation(batch, autoencoder):
  params, state = autoencoder
  x = batch["x"]
  dense = jax.tree.map(np.float64, params)
  layers = [dense["encoder"]["dense1"], dense["encoder"]["code"], dense["decoder"]]
  h = x.reshape(len(x), -1)
  for layer, relu in ((layers[0]["Dense_0"], True), (layers[1]["Dense_0"], False), (layers[2]["Dense_0"], True)):
    h = h @ layer["kernel"] + layer["bias"]
    h = np.maximum(h, 0) if relu else h
  p = 1 / (1 + np.exp(-(h @ layers[2]["Dense_1"]["kernel"] + layers[2]["Dense_1"]["bias"]))).reshape(x.shape)
  pretext = make("autoencode", TINY)
  value, _ = pretext.loss(params, state, KEY, pretext.transform(KEY, batch))
  np.testing.assert_allclose(value, -(x * np.log(p) + (1 - x) * np.log(1 - p)).mean(), rtol=1e-4)
  np.testing.assert_allclose(pretext.show(params, state, KEY, batch)["reconstruction"], p, atol=1e-4)
  squares = make("autoencode", TINY, loss="mse")
  value, _ = squares.loss(params, state, KEY, squares.transform(KEY, batch))
  np.testing.assert_allclose(value, ((p - x) ** 2).mean(), rtol=1e-4)


@pytest.mark.parametrize("method", ["autoencode", "denoise"])
def test_unfit_output_and_loss_are_refused_before_training(method):
  for hp in ({"output": "relu"}, {"output": "linear"}, {"loss": "l1"}):
    with pytest.raises(UserError, match="--hp="):
      build(method, TINY, hp)


def test_decoder_mirrors_the_encoder():
  shape = (28, 28, 1)

  def outputs(spec: str) -> dict:
    encoder, x = nn.build(spec), np.zeros((1, *shape), np.float32)
    shapes = jax.eval_shape(lambda: nn.apply(encoder, *nn.init(encoder, KEY, x), x)[0])
    return {name: shapes[name] for name in encoder.block_names}  # eval_shape sorts

  conv = outputs("conv:widths=4-8-16")
  assert decoder_for("auto", "auto", conv, shape) == nn.ConvDecoder(shape, (16, 8, 4))
  assert decoder_for("auto", "auto", outputs("conv:widths=4-8,code=3"), shape) == nn.ConvDecoder(shape, (8, 4))
  assert decoder_for("auto", "auto", outputs("mlp:widths=9-7,code=3"), shape) == nn.MlpDecoder(shape, (7, 9))
  assert decoder_for("auto", "auto", outputs("mlp:widths=9-7,code=0"), shape) == nn.MlpDecoder(shape, (9,))
  assert decoder_for("auto", (5, 6), conv, shape) == nn.ConvDecoder(shape, (5, 6))
  assert decoder_for("mlp", (5,), conv, shape) == nn.MlpDecoder(shape, (5,))
  assert decoder_for("conv", "auto", outputs("mlp:widths=9"), shape) == nn.ConvDecoder(shape, (32,))
  assert decoder_for("mlp", None, outputs("mlp:widths=9-7,code=3"), shape) == nn.MlpDecoder(shape, ())
  assert decoder_for("auto", None, conv, shape) == nn.DictionaryDecoder(shape)
  assert decoder_for("tied", "auto", outputs("mlp:widths=9-7,code=3"), shape) == nn.TiedDecoder(shape)
  with pytest.raises(UserError, match="--hp=decoder=tied: needs an encoder of dense layers"):
    decoder_for("tied", "auto", conv, shape)


@pytest.mark.parametrize(("widths", "text"), [((), ""), ((0,), "0"), ((8, -1), "8--1")])
def test_no_widths_at_all_are_refused(widths, text):
  """An empty text once meant the mirrored encoder; it says now what to write."""
  pretext = make("autoencode", "mlp:widths=9,code=3", decoder_widths=widths)
  with pytest.raises(UserError, match=rf"--hp=decoder_widths={text}: write auto .*none .*or widths"):
    jax.eval_shape(pretext.init, KEY, {"x": np.zeros((1, 8, 8, 1), np.float32)})
