"""The demonstration behind `make demo`: a node, a destination, real DICOM between them.

To be read as a user would work: the node is a process of its own, and everything goes over the network.
"""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pydicom
import yaml
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from db.queries import Filters, SeriesRow, series_rows
from db.session import open_migrated
from node.cli.options import terminal
from node.cli.peers import Sent, send_files
from node.cli.tables import spans_text, verdict_text
from node.delivery.scu import Peer, echo
from node.delivery.transport import PeerError
from node.relabelling.part10 import Meta
from node.settings.config import Config, load

FOLDER: Final = Path("build/demo")
PACKAGED: Final = Path(pydicom.__file__).parent / "data" / "test_files"
REAL: Final = ("CT_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "MR_small.dcm",
               "examples_overlay.dcm", "JPEG2000.dcm", "examples_palette.dcm")  # fmt: skip
"""The real images that the pydicom package carries: CT and MR, and two that are only passed on."""
SHARED: Final = Path("../shared/data/dicom")
_START_S: Final = 120.0
_SILENCE_S: Final = 180.0
"""The demonstration gives up when nothing arrived for so long; a slow machine loads the networks in it."""

console = terminal()

_config.UNRESTRICTED_STORAGE_SERVICE = True


class Archive:
    """The destination: a storage SCP that keeps what it gets, and counts it per series."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.received: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        ae = AE(ae_title="ARCHIVE")
        ae.add_supported_context(Verification)
        self._server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.port = int(self._server.socket.getsockname()[1])

    def _store(self, event: evt.Event) -> int:
        data_set = event.dataset
        uid = str(event.request.AffectedSOPInstanceUID)
        meta = Meta(str(data_set.SOPClassUID), uid, str(event.context.transfer_syntax), "BODYTAG")
        (self.folder / f"{uid}.dcm").write_bytes(meta.encode() + event.request.DataSet.getvalue())
        with self._lock:
            series = str(data_set.get("SeriesInstanceUID", uid))
            self.received[uid] = (series, str(data_set.get("BodyPartExamined") or "-"))
        return 0x0000

    def tags(self) -> dict[str, dict[str, int]]:
        """Return, for each Series Instance UID, how often each BodyPartExamined arrived."""
        counted: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        with self._lock:
            for series, tag in self.received.values():
                counted[series][tag] += 1
        return {series: dict(tags) for series, tags in counted.items()}

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; return 0 only if every instance sent was received by the destination."""
    files = _objects([Path(argument) for argument in arguments])
    if not files:
        console.print(f"There is no DICOM object in {' '.join(arguments) or 'the sample folders'}.")
        return 1
    shutil.rmtree(FOLDER, ignore_errors=True)
    archive = Archive(FOLDER / "received")
    config = _write_config(archive.port)
    settings = load(config)
    with _node(config, settings):
        results = send_files(_peer(settings), files)
        stored = {result.file for result in results if result.stored}
        sent = {_instance_uid(Path(file)) for file in stored}
        complete = _wait(archive, sent)
        database = open_migrated(settings.database.url)
        with database.reading() as session:
            rows = series_rows(session, Filters())
        database.close()
    archive.stop()
    _report(rows, archive, results)
    console.print(f"{len(sent & set(archive.received))} of {len(files)} instances sent were received.")
    console.print(f"Configuration, log, database and received copies are in {FOLDER}/.")
    return 0 if complete and len(sent) == len(files) else 1


def _objects(folders: Sequence[Path]) -> list[Path]:
    """Find what to send, each UID once: the folders named, or pydicom's images and the shared samples."""
    found: dict[str, Path] = {}
    for folder in folders or [*(PACKAGED / name for name in REAL), SHARED]:
        paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
        for path in paths:
            uid = _instance_uid(path) if path.is_file() else ""
            if uid:
                found.setdefault(uid, path)
    return list(found.values())


def _instance_uid(path: Path) -> str:
    """Return the SOP Instance UID of a file that can be sent, "" for any other."""
    try:
        data_set = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        uid = str(data_set.SOPInstanceUID)
        known = data_set.file_meta.MediaStorageSOPInstanceUID == uid and data_set.file_meta.TransferSyntaxUID
        return uid if known else ""
    except (InvalidDicomError, AttributeError, OSError, ValueError, KeyError, NotImplementedError):
        return ""


def _write_config(archive_port: int) -> Path:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "receive": {"ae_title": "BODYTAG", "host": "127.0.0.1", "port": port, "promiscuous": True},
        "spool": {"folder": "spool", "minimum_free": "100MiB"},
        "series": {"stable_age_s": 2},
        "web": {"enabled": False},
        "destinations": [
            {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive_port}
        ],
    }
    path = FOLDER / "node.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return path


@contextmanager
def _node(config: Path, settings: Config) -> Iterator[None]:
    """Run `bodytag serve` as its users do, until the block ends."""
    command = [sys.executable, "-m", "node", "serve", "--config", str(config)]
    with (
        (FOLDER / "node.log").open("wb") as log,
        subprocess.Popen(command, stderr=log, stdout=log) as process,
    ):
        try:
            with console.status("starting the node"):
                _wait_for_answer(settings, process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_for_answer(settings: Config, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            echo(_peer(settings))
        except PeerError:
            time.sleep(0.2)
            continue
        return
    console.print((FOLDER / "node.log").read_text(errors="replace"))
    raise SystemExit("The node did not start; its log is above.")


def _peer(settings: Config) -> Peer:
    return Peer(settings.receive.ae_title, "127.0.0.1", settings.receive.port, "DEMO", 30)


def _wait(archive: Archive, sent: set[str]) -> bool:
    """Show how many instances have arrived until all have, or nothing comes any more."""
    columns = (TextColumn("delivered"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("delivered", total=len(sent))
        last, since = 0, time.monotonic()
        while not sent <= archive.received.keys():
            arrived = len(sent & archive.received.keys())
            progress.update(task, completed=arrived)
            if arrived != last:
                last, since = arrived, time.monotonic()
            if time.monotonic() - since > _SILENCE_S:
                return False
            time.sleep(0.2)
        progress.update(task, completed=len(sent))
    return True


def _report(rows: Sequence[SeriesRow], archive: Archive, results: Sequence[Sent]) -> None:
    table = Table(title="What went in, what the pixels say, what came out", show_lines=True)
    for heading in ("series", "the tag said", "the node says", "regions, feet to head", "received"):
        table.add_column(heading, overflow="fold", no_wrap=heading.startswith("regions"))
    arrived = archive.tags()
    for row in reversed(rows):
        tags = arrived.get(row.series_instance_uid, {})
        table.add_row(
            f"{row.modality} {row.series_description or row.study_description}".strip(),
            row.incoming_body_part or "-",
            verdict_text(row),
            spans_text(row.spans),
            "\n".join(f"{count} x {tag}" for tag, count in sorted(tags.items())),
        )
    console.print(table)
    for result in results:
        if not result.stored:
            console.print(f"not taken: {result.file}: {result.comment}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
