"""A published comparison on MNIST: an autoencoder with a code of 10, then 1% of the labels. See __main__.py."""

PUBLISHED = {"scratch": 0.8145, "frozen": 0.8715}
