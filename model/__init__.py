"""Pixels in, numbers out: what an image shows, as probabilities."""
