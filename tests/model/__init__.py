"""Tests of the model package: reading, geometry, the gate, preprocessing, networks."""
