"""Commands that talk to a peer, whatever it speaks: send and echo."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from rich.console import Console
from rich.progress import track

from node import status
from node.cli.options import ConfigOption, JsonOption, sentences
from node.delivery.destinations import transport
from node.delivery.outgoing import Outgoing
from node.delivery.scu import MAXIMUM_CONTEXTS, Peer
from node.delivery.transport import Context, PeerError, RefusedError, Sender, Transport
from node.settings.config import Config, load
from node.settings.destinations import DicomDestination

NODE: Final = "node"
_NODE_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Sent:
    """How the sending of one file ended; `status` is None where no answer came."""

    file: str
    status: int | None
    comment: str

    @property
    def stored(self) -> bool:
        """Tell whether the peer has it."""
        return self.status is not None and (status.is_success(self.status) or status.is_warning(self.status))


def send(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them")],
    config: ConfigOption = Path("node.yaml"),
    to: Annotated[str, typer.Option(help="a destination's name, or 'node' for this node")] = NODE,
    calling: Annotated[str, typer.Option(help="calling AE title; default: the node's own")] = "",
    as_json: JsonOption = False,
) -> None:
    """Send DICOM files as they are, to this node or to one of its destinations."""
    with sentences():
        peer = _peer(load(config), to, calling)
        files = [file for path in paths for file in _files(path)]
        results = send_files(peer, files, quiet=as_json)
    stored = sum(result.stored for result in results)
    if as_json:
        print(json.dumps([asdict(result) for result in results]))
    else:
        for result in results:
            if not result.stored:
                print(f"{result.file}: {result.comment}")
        print(f"{stored} of {len(results)} stored by {peer.where}")
    if stored < len(results) or not results:
        raise typer.Exit(1)


def echo(
    names: Annotated[list[str] | None, typer.Argument(help="destinations, or 'node'; none: all")] = None,
    config: ConfigOption = Path("node.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Ask destinations, or the node itself, whether they answer (C-ECHO, QIDO-RS, a look at the folder)."""
    with sentences():
        settings = load(config)
        peers = {name: _peer(settings, name, "") for name in names or _destinations(settings)}
    answers = {name: _echoed(peer) for name, peer in peers.items()}
    if as_json:
        print(json.dumps(answers))
    else:
        for name, answer in answers.items():
            print(f"{name}: {answer}")
    if any(answer != "success" for answer in answers.values()):
        raise typer.Exit(1)


def send_files(peer: Transport, files: Sequence[Path], quiet: bool = False) -> list[Sent]:
    """Send files over as few associations as their presentation contexts allow; raises PeerError."""
    results: list[Sent] = []
    contexts: dict[Path, Context] = {}
    for file in files:
        try:
            meta = read_file_meta_info(file)
            contexts[file] = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        except (InvalidDicomError, AttributeError, OSError):
            results.append(Sent(str(file), None, "is no DICOM file"))
    distinct = list(dict.fromkeys(contexts.values()))
    for start in range(0, len(distinct), MAXIMUM_CONTEXTS):
        proposed = distinct[start : start + MAXIMUM_CONTEXTS]
        batch = [file for file, context in contexts.items() if context in proposed]
        with peer.connect(proposed) as sender:
            shown = track(batch, "sending", console=Console(stderr=True), disable=quiet)
            results.extend(_send_one(sender, file, contexts[file]) for file in shown)
    return results


def _send_one(sender: Sender, file: Path, context: Context) -> Sent:
    if not sender.accepts(context):
        return Sent(str(file), None, "the peer takes no such SOP class and transfer syntax")
    try:
        answer = sender.store(Outgoing(file))
    except (PeerError, RefusedError) as error:
        return Sent(str(file), None, str(error))
    said = f"{status.meaning(answer.status)} (0x{answer.status:04X}) {answer.comment}"
    return Sent(str(file), answer.status, said.strip())


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    return [path]


def _echoed(peer: Transport) -> str:
    try:
        return peer.echo()
    except PeerError as error:
        return str(error)


def _destinations(settings: Config) -> list[str]:
    return [destination.name for destination in settings.destinations]


def _peer(settings: Config, name: str, calling: str) -> Transport:
    own = settings.receive
    if name == NODE:
        host = "127.0.0.1" if own.host == "0.0.0.0" else own.host  # noqa: S104 - compared, not bound
        return Peer(own.ae_title, host, own.port, calling or own.ae_title, _NODE_TIMEOUT_S)
    found = settings.destination(name)
    if calling and isinstance(found, DicomDestination):
        found = found.model_copy(update={"calling_ae_title": calling})
    return transport(found, own.ae_title)
