"""Pictures of a run, each a matplotlib Figure made without pyplot, so there is no global state and no display.

Scores come in as a task computes them and are drawn in their unit, accuracies in percent. `summary` is what
`sslx.report.summarise` returns.
"""

from sslx.report.figures.answers import DRAWN, answers, labels, scatter
from sslx.report.figures.blocks import trained_blocks
from sslx.report.figures.boxes import boxes
from sslx.report.figures.curves import Span, label_curve, loss_curve
from sslx.report.figures.masks import masks
from sslx.report.figures.pictures import confusion, confusion_counts, picture_rows, predictions
from sslx.report.figures.reliability import reliability
from sslx.report.figures.scores import score_dots
from sslx.report.figures.style import save
from sslx.report.figures.tracks import attention_rows, save_moving, track_rows
from sslx.report.figures.words import word_pairs

__all__ = [
  "DRAWN",
  "Span",
  "answers",
  "attention_rows",
  "boxes",
  "confusion",
  "confusion_counts",
  "label_curve",
  "labels",
  "loss_curve",
  "masks",
  "picture_rows",
  "predictions",
  "reliability",
  "save",
  "save_moving",
  "scatter",
  "score_dots",
  "track_rows",
  "trained_blocks",
  "word_pairs",
]
