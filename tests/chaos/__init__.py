"""Fault tests as programs: `python -m tests.chaos`, or `make chaos`."""
