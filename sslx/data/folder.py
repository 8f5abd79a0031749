"""`folder:DIR`: DIR/train/CLASS/*.png, [DIR/test/CLASS/*.png], and [DIR/unlabeled/] for images without labels.

DIR/unlabeled/ may be all there is.

DIR may be a URL: see `sslx.data.remote_folder`. Where DIR/train holds just images/ and masks/, these are no classes:
see `sslx.data.masks`.
"""

from pathlib import Path

from sslx.data.files import headers_of, images_of
from sslx.data.masks import FOLDERS, load_masks
from sslx.data.remote_folder import load_remote_folder
from sslx.data.tree import IMAGES, class_folders, folders_in
from sslx.data.types import Dataset, Request, Split, image_classes
from sslx.data.urls import is_url
from sslx.types import UserError


def load_folder(request: Request) -> Dataset:
  """Classes are the sub-folders of DIR/train, in the order of their names; other files than images are passed over.

  Images may lie deeper than their class folder, and behind links: each real folder is read once (`sslx.data.tree`).
  They keep one channel if every one of them is grey, else they are RGB. What is passed over is told on stderr.

  Raises:
    UserError: naming the folder or file: missing, without images, unreadable, too large, a test class unknown to train,
      or images of two sizes while --image_size is not given.
  """
  if is_url(request.argument):
    return load_remote_folder(request)
  root = Path(request.argument).expanduser()
  if not root.is_dir():
    raise UserError(f"{root}: no such folder")
  if folders_in(root / "train") == sorted(FOLDERS):
    return load_masks(request)
  names, files, labels = class_folders(root, request.spec, IMAGES, request.labels_file)
  images = images_of(files, headers_of(files, request), request)
  splits = {part: Split(images[part], labels[part], paths) for part, paths in files.items()}
  return image_classes(request.spec, names, splits["train"], splits.get("test"), splits.get("unlabeled"))
