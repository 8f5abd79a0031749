"""Whether a data set is one that an encoder of a checkpoint can read."""

from typing import TYPE_CHECKING

from sslx.types import UserError

if TYPE_CHECKING:
  from sslx.data import Dataset
  from sslx.training.run import Meta


def check_fits(dataset: "Dataset", meta: "Meta") -> None:
  """Raises UserError for data of another modality, sample rate or shape than the encoder of `meta` was made for."""
  made, name = meta.config, f"--dataset={dataset.name}"
  if dataset.modality.name != meta.modality:
    raise UserError(
      f"{name}: is {dataset.modality.name}, this encoder was made for {meta.modality}; try another --checkpoint."
    )
  if dataset.rate != made.rate:
    raise UserError(
      f"{name}: its recordings have {dataset.rate} samples a second, this encoder was made for {made.rate}; give "
      f"--sample_rate={made.rate}, or another --checkpoint."
    )
  if dataset.vocabulary != meta.vocabulary:
    raise UserError(
      f"{name}: its words are not those that this encoder was made for, so that its ids mean others; pretrain on this "
      "data set (texts without labels may stand in DIR/unlabeled), or give the same --min_count and --max_words."
    )
  if dataset.x_shape != made.x_shape:
    size = made.x_shape[0]
    things, cure = {
      "sound": ("recordings", f"--seconds={size / max(made.rate, 1):g}"), "text": ("texts", f"--max_length={size}"),
      "video": ("clips", "--frames and --frame_size"),
    }.get(meta.modality, ("images", f"--image_size={size}"))  # fmt: skip
    raise UserError(
      f"{name}: its {things} are {dataset.x_shape}, this encoder was made for {made.x_shape}; try {cure} or another "
      "--checkpoint."
    )
