"""Tests, mirroring the modules; real peers, real images, no mocks."""
