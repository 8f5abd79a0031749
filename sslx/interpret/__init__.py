"""What a code and its filters look like: statistics, walks, filters, neighbours and 2-D maps, on plain arrays."""

from sslx.interpret.codes import Statistics, amplitudes, check_dims, places, reader, statistics, widest
from sslx.interpret.dots import black_dots, dead_pixels, dead_units
from sslx.interpret.filters import differences, first_filters, strongest
from sslx.interpret.maps import neighbours, pca, tsne
from sslx.interpret.walks import Decode, between, set_unit, sweep, tour, unit_map

__all__ = [
  "Decode",
  "Statistics",
  "amplitudes",
  "between",
  "black_dots",
  "check_dims",
  "dead_pixels",
  "dead_units",
  "differences",
  "first_filters",
  "neighbours",
  "pca",
  "places",
  "reader",
  "set_unit",
  "statistics",
  "strongest",
  "sweep",
  "tour",
  "tsne",
  "unit_map",
  "widest",
]
