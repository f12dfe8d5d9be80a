"""The configuration: node.yaml, checked and frozen."""
