"""Tests of the rules package: probabilities to verdicts, defined terms, incoming tags."""
