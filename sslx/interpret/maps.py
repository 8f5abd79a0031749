"""Maps: neighbours in feature space, and the plane that shows it."""

from collections.abc import Sequence

import numpy as np


def neighbours(features: np.ndarray, queries: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
  """i64 [Q,count]: rows of features [N,D] nearest to each query row by cosine, most alike first, without the query."""
  unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
  alike = unit[np.asarray(queries)] @ unit.T
  alike[np.arange(len(queries)), np.asarray(queries)] = -np.inf
  return np.argsort(-alike, axis=1, kind="stable")[:, :count]


def pca(features: np.ndarray, dimensions: int = 2) -> tuple[np.ndarray, np.ndarray]:
  """(f32 [N,dimensions], share of the variance along each): features [N,D] along their principal axes.

  The sign of an axis is chosen so that its largest coordinate is positive. Fewer axes where N or D is smaller.
  """
  centred = features - features.mean(0, dtype=np.float64).astype(features.dtype)
  wide = centred.shape[1] > centred.shape[0]  # then the products of samples are the smaller matrix
  gram = (centred @ centred.T if wide else centred.T @ centred).astype(np.float64)
  values, vectors = np.linalg.eigh(gram)
  values, vectors = values[::-1][:dimensions].clip(0), vectors[:, ::-1][:, :dimensions]
  points = vectors * np.sqrt(values) if wide else centred @ vectors
  points = points * np.sign(points[np.abs(points).argmax(0), np.arange(points.shape[1])])
  return points.astype(np.float32), values / max(float(np.trace(gram)), 1e-30)


def tsne(features: np.ndarray, seed: int) -> np.ndarray | None:
  """f32 [N,2] by scikit-learn's t-SNE on the first 50 principal axes; None where scikit-learn is not installed.

  van der Maaten, Hinton: Visualizing Data using t-SNE, JMLR 2008; perplexity 30, less for fewer than 91 samples.
  """
  try:
    from sklearn.manifold import TSNE
  except ImportError:
    return None
  from threadpoolctl import threadpool_limits

  reduced = pca(features, 50)[0]
  scale = max(float(reduced.std()), 1e-12)  # started from them, and early exaggeration is slow at other scales
  perplexity = min(30.0, (len(features) - 1) / 3)
  with threadpool_limits(1 if len(features) < 1000 else None):  # of few samples, threads mostly wait for each other
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced / scale)
