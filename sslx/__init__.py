"""sslx: a JAX/Flax laboratory for self-supervised learning."""
