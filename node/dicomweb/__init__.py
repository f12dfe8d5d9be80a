"""The web listener: receiving by STOW-RS."""
