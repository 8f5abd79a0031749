"""One train step and one loop, and what a pretraining run is."""
