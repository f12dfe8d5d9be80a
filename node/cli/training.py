"""Commands for making models; what trains is imported when they run, so a node never loads it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from node.cli.options import fail, sentences

RunOption = Annotated[Path, typer.Option("--config", "-c", help="the run's configuration file")]
DataOption = Annotated[Path | None, typer.Option(help="the data folder; default: ../shared/data")]
OutOption = Annotated[Path | None, typer.Option(help="the run's folder; default: runs/ and the file's name")]
Fresh = Annotated[bool, typer.Option("--fresh", help="start anew instead of going on")]


def train(config: RunOption, data: DataOption = None, out: OutOption = None, fresh: Fresh = False) -> None:
    """Train a network as a configuration file says, or go on where its run was stopped."""
    from model.training.fit import Stopped
    from model.training.folder import FolderError
    from model.training.run import RunError, load
    from model.training.train import train as run_training
    from model.training.volume_run import is_series
    from model.training.volume_run import load as load_series
    from model.training.volume_train import train as train_series

    with sentences():
        try:
            if is_series(config):
                done = train_series(load_series(config, data, out), fresh)
            else:
                done = run_training(load(config, data, out), Console(), fresh)
        except (RunError, FolderError) as error:
            fail(str(error))
        except Stopped as stopped:
            kept = "the same command goes on from there" if stopped.state.step else "nothing is kept of it"
            print(f"stopped after step {stopped.state.step}; {kept}")
            raise typer.Exit(1) from stopped
    if done.before:
        print(f"{done.weights} is trained already; --fresh starts anew")
    else:
        print(f"wrote {done.weights}")


Files = Annotated[list[Path], typer.Argument(help="the weights files (.npz) of two networks or more")]
EnsembleOption = Annotated[Path, typer.Option(help="the weights file to write, with its card beside it")]


def ensemble(weights: Files, out: EnsembleOption) -> None:
    """Put networks of one kind, trained apart, into one weights file that says what they say on average."""
    from model.training.ensemble import join

    with sentences():
        digest = join(weights, out)
    print(f"wrote {out}, SHA-256 {digest}; `bodytag evaluate --weights {out}` says how good it is")
