"""Fuzzing: parsers with hypothesis, a running node with hostile bytes; `make fuzz` runs both in full."""
