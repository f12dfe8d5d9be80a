"""`python -m node`: the same as the command `bodytag`."""

from node.cli.app import app

if __name__ == "__main__":
    app()
