"""A page with a slider per unit of the code, which decodes in the browser: the decoder as plain weights.

`export` turns the parameters of a decoder of `sslx.nn` into a list of layers; `run_layers` is the reference that the
page's JavaScript and the export are held against. What cannot be exported, or is too large, is shown as pre-decoded
frames, one unit at a time.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslx import nn
from sslx.interpret.codes import Statistics, amplitudes
from sslx.interpret.walks import Decode, set_unit
from sslx.report import pages

LIMIT = 8 << 20  # bytes of weights and codes, or of frames, that a page may hold (a third more in base64)
FRAME_STEPS = 15
TOLERANCE = 1 / 255  # a grey level: what an exported decoder may be off

Weights = tuple[np.ndarray, np.ndarray]  # kernel, bias
Layer = dict[str, Any]
"""One of, with relu: bool beside each:
{"op": "dense", "kernel": f32[in,out], "bias": f32[out], "shape": the output as [h,w,c]},
{"op": "resize", "size": [h,w]}: repeats or drops pixels,
{"op": "conv", "kernel": f32[kh,kw,in,out], "bias": f32[out], "stride": [sy,sx], "before": [py,px], "size": [h,w]}: the
  input with stride-1 zeros between its pixels, correlated with the kernel; output pixel 0 sees input pixel 0 under
  kernel place `before`; the first h rows and w columns. A transposed convolution, or with stride 1 a plain one.
"""


def export(
  params: Mapping[str, Any], block_names: Sequence[str], code_shape: Sequence[int], image_shape: Sequence[int]
) -> list[Layer] | None:
  """The layers of the decoder in params["decoder"], or None where it is none of `sslx.nn`'s.

  params: a method's parameters, with the roles encoder (tied decoders take its kernels) and decoder.
  code_shape: [D] or [h,w,D].
  image_shape: [H,W,C].
  """
  decoder, names = params.get("decoder") or {}, set(params.get("decoder") or {})
  if names and names == {f"bias{i}" for i in range(len(names))} and len(names) == len(block_names):
    kernels = [np.asarray(nn.only_layer(params["encoder"][name])["kernel"]).T for name in reversed(block_names)]
    return _dense([(kernel, np.asarray(decoder[f"bias{i}"])) for i, kernel in enumerate(kernels)], image_shape)
  dense = _numbered(decoder, "Dense")
  if len(dense) == len(names) > 0:
    return _dense(dense, image_shape)
  for kind in ("ConvTranspose", "Conv"):
    convs = _numbered(decoder, kind)
    if convs and len(convs) + len(dense) == len(names) and len(dense) == (len(code_shape) == 1):
      return _spatial(dense, convs, kind == "ConvTranspose", code_shape, image_shape)
  return None


def _numbered(decoder: Mapping[str, Any], kind: str) -> list[Weights]:
  """(kernel, bias) of flax's KIND_0, KIND_1 ..."""
  layers = [decoder[f"{kind}_{i}"] for i in range(len(decoder)) if f"{kind}_{i}" in decoder]
  return [(np.asarray(layer["kernel"]), np.asarray(layer["bias"])) for layer in layers]


def _dense(weights: Sequence[Weights], image_shape: Sequence[int]) -> list[Layer]:
  return [
    {
      "op": "dense",
      "kernel": kernel,
      "bias": bias,
      "shape": [1, 1, kernel.shape[1]] if i < len(weights) - 1 else list(image_shape),
      "relu": i < len(weights) - 1,
    }
    for i, (kernel, bias) in enumerate(weights)
  ]


def _spatial(
  dense: list[Weights], convs: list[Weights], transposed: bool, code_shape: Sequence[int], image_shape: Sequence[int]
) -> list:
  """sslx.nn.ConvDecoder, or sslx.nn.DictionaryDecoder: a single kernel that is not 3x3."""
  height, width, _ = image_shape
  stages = len(convs)
  if transposed and stages == 1 and not dense and convs[0][0].shape[0] != 3:
    strides = [-(-height // code_shape[0]), -(-width // code_shape[1])]
    return [_conv(*convs[0], strides, [height, width], transposed, False)]
  start = [-(-height // 2**stages), -(-width // 2**stages)]
  layers: list[Layer] = []
  if dense:
    kernel, bias = dense[0]
    shape = [*start, kernel.shape[1] // math.prod(start)]
    layers.append({"op": "dense", "kernel": kernel, "bias": bias, "shape": shape, "relu": True})
  elif list(code_shape[:2]) != start:
    layers.append({"op": "resize", "size": start, "relu": False})
  for k, weights in enumerate(convs):
    size = [-(-height // 2 ** (stages - 1 - k)), -(-width // 2 ** (stages - 1 - k))]
    if not transposed:
      layers.append({"op": "resize", "size": size, "relu": False})
    layers.append(_conv(*weights, [2, 2] if transposed else [1, 1], size, transposed, k < stages - 1))
  return layers


def _conv(
  kernel: np.ndarray, bias: np.ndarray, stride: list[int], size: list[int], transposed: bool, relu: bool
) -> Layer:
  pads = zip(kernel.shape[:2], stride, strict=True)  # as sslx.nn.layers.ConvTranspose, or SAME
  before = [k - 1 if s > k - 1 else -(-(k + s - 2) // 2) if transposed else (k - 1) // 2 for k, s in pads]
  return {
    "op": "conv", "kernel": kernel, "bias": bias, "stride": stride, "before": before, "size": size, "relu": relu
  }  # fmt: skip


def run_layers(layers: Sequence[Layer], output: str, code: np.ndarray) -> np.ndarray:
  """One code [D] or [h,w,D] through exported layers -> image [H,W,C] in [0, 1]. Written for clearness, not speed.

  output: sigmoid or linear.
  """
  x = np.asarray(code, np.float64)
  for layer in layers:
    if layer["op"] == "dense":
      x = (x.ravel() @ layer["kernel"] + layer["bias"]).reshape(layer["shape"])
    elif layer["op"] == "resize":
      rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(layer["size"], x.shape, strict=False))
      x = x[rows][:, columns]
    else:
      x = _run_conv(layer, x)
    x = np.maximum(x, 0) if layer["relu"] else x
  return np.clip(1 / (1 + np.exp(-x)) if output == "sigmoid" else x, 0, 1)


def _run_conv(layer: Layer, x: np.ndarray) -> np.ndarray:
  """Every input pixel adds its kernel, scaled, to the output: place (y*stride + before - k) for kernel place k."""
  (height, width), (sy, sx), (py, px) = layer["size"], layer["stride"], layer["before"]
  kernel = layer["kernel"]
  out = np.tile(np.asarray(layer["bias"], np.float64), (height, width, 1))
  for y, row in enumerate(x):
    for ky, kernel_row in enumerate(kernel):
      v = y * sy + py - ky
      if 0 <= v < height:
        for kx, weights in enumerate(kernel_row):
          places = np.arange(x.shape[1]) * sx + px - kx
          inside = (places >= 0) & (places < width)
          out[v, places[inside]] += row[inside] @ weights
  return out


def faithful(layers: Sequence[Layer], decode: Decode, codes: np.ndarray) -> str | None:
  """The output activation with which the exported layers agree with `decode` on all of `codes`; None for neither."""
  wanted = decode(codes)
  for output in ("sigmoid", "linear"):
    got = np.stack([run_layers(layers, output, code) for code in codes])
    if got.shape == wanted.shape and np.abs(got - wanted).max() <= TOLERANCE:
      return output
  return None


def unit_images(layers: Sequence[Layer]) -> np.ndarray | None:
  """f32 [D,h,w,C]: what each unit of the code adds to the image before the output activation, where the decoder is a
  single layer; else None."""
  if len(layers) != 1:
    return None
  kernel = layers[0]["kernel"]
  if layers[0]["op"] == "dense":
    return kernel.reshape(-1, *layers[0]["shape"]) if kernel.ndim == 2 else None
  return np.moveaxis(kernel[::-1, ::-1], 2, 0)


# ---- the page --------------------------------------------------------------------------------------------------------


def write_page(
  path: Path,
  title: str,
  subtitle: str,
  decode: Decode,
  layers: Sequence[Layer] | None,
  output: str,
  images: np.ndarray,
  codes: np.ndarray,
  units: Sequence[int],
  stats: Statistics,
  places: np.ndarray,
) -> str:
  """Writes the page and says how it decodes, in a sentence that the page shows too.

  Args:
    path: of the HTML file, written atomically.
    title: its heading.
    subtitle: below it.
    decode: the method's decoder.
    layers: what `export` made of it, or None where that is not `faithful`.
    output: what `faithful` returned.
    images: f32 [B,H,W,C] in [0, 1], the start images.
    codes: f32 [B,...], theirs.
    units: which get a slider.
    stats: of the code; a slider goes from a unit's 1st to its 99th percentile, further where a start image is beyond.
    places: see `sslx.interpret.codes.places`.
  """
  size = (
    sum(layer[name].nbytes for layer in layers or [] for name in ("kernel", "bias") if name in layer) + codes.nbytes
  )
  model: dict[str, Any] = {"shape": list(images.shape[1:])}
  if layers and size <= LIMIT:
    how = "Your browser decodes: the page holds the decoder's weights, and all sliders act together."
    packed = [{name: _pack(v) if isinstance(v, np.ndarray) else v for name, v in layer.items()} for layer in layers]
    model |= {"layers": packed, "output": output}
  else:
    reason = f"its weights take {size / 2**20:.0f} MB" if layers else "this decoder cannot be written as plain layers"
    how = (
      f"The page holds pictures decoded beforehand, since {reason}: one slider at a time, the others at their start."
    )
  units = list(units)
  begins = amplitudes(codes)[:, units]
  ranges = np.stack([np.minimum(stats.low[units], begins.min(0)), np.maximum(stats.high[units], begins.max(0))], 1)
  if "layers" not in model:
    each = int(images[0].size) * FRAME_STEPS
    images, codes = images[: max(1, LIMIT // (each * 8))], codes[: max(1, LIMIT // (each * 8))]  # for 8 units at least
    units = units[: max(1, LIMIT // (each * len(images)))]
    ranges = ranges[: len(units)]
    steps = np.linspace(ranges[:, 0], ranges[:, 1], FRAME_STEPS, axis=1)
    frames = [
      decode(set_unit(code, unit, values, places[unit]))
      for code in codes
      for unit, values in zip(units, steps, strict=True)
    ]
    model |= {"frames": _pack(_bytes(np.stack(frames))), "base": _pack(_bytes(decode(codes))), "steps": FRAME_STEPS}
  model |= {
    "codes": _pack(codes.reshape(len(codes), -1)) if "layers" in model else None,
    "code": [1] * (4 - codes.ndim) + list(codes.shape[1:]),
    "units": [
      {"unit": int(unit), "low": float(low), "high": float(high), "place": int(places[unit]), "starts": column.tolist()}
      for unit, (low, high), column in zip(units, ranges, begins.T, strict=False)
    ],
    "images": _pack(_bytes(images)),
    "kind": "map" if codes.ndim == 4 else "unit",
    "count": len(images),
  }
  left = int(codes.shape[-1]) - len(units)
  note = f"The other {left:,} {model['kind']}s stay as they are in the start image." if left else ""
  pages.write_page(
    path, "decoder.html.jinja", {"title": title, "subtitle": subtitle, "how": how, "note": note, "model": model}
  )
  return how


def _bytes(images: np.ndarray) -> np.ndarray:
  """[0, 1] -> u8, rounded."""
  return np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)


def _pack(array: np.ndarray) -> dict[str, Any]:
  """{"shape", "data"}: base64 of little-endian float32, or of bytes."""
  array = np.ascontiguousarray(array if array.dtype == np.uint8 else array.astype("<f4"))
  return {"shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}
