"""Pixels in, numbers out: what an image shows, as probabilities. Knows no network, database or configuration."""
