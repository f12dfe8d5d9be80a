"""Benchmarks beside dcmtk and pydicom: python -m tests.bench writes BENCHMARKS.md."""
