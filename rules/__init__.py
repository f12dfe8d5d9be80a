"""Probabilities in, a verdict out: pure functions, no I/O, no clock, no TensorFlow."""
