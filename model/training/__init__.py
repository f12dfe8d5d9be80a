"""Training and evaluation; the node never imports this package."""
