"""Starts the peers on free ports, and says what CPU time they used."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from model.classify import SHIPPED
from model.onnx_graph import exported
from model.weights_file import load, restore
from tests.bench.peers import relay
from tests.harness import Archive, command, free_port, peers_path, wait_until

HERE: Final = Path(__file__).parent
PLUGIN: Final = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
ORTHANC: Final = "Orthanc with a Python plugin"
DCMTK: Final = "storescp and a script"


@dataclass(frozen=True)
class Peer:
    """A running peer: where it listens, the CPU seconds that it has used, and how to await its end."""

    port: int
    cpu_s: Callable[[], float]
    settled: Callable[[], object]


def available() -> bool:
    """Tell whether Orthanc's Python plugin is there (Debian: orthanc-python)."""
    return PLUGIN.is_file()


def export(folder: Path) -> Path:
    """Write the shipped CT network for the peers, and what they have to know of it."""
    weights = load(SHIPPED["CT"])
    definition = weights.definition
    path = folder / "ct.onnx"
    path.write_bytes(exported(restore(SHIPPED["CT"], weights)))
    card = {"classes": definition.classes, "size": definition.size, "preprocessing": definition.preprocessing}
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return path


def _environment(network: Path) -> Mapping[str, str]:
    """Let programs find the packages of this project and dcmtk's tools, and both ends send at once."""
    found = os.pathsep.join([str(Path.cwd()), sysconfig.get_paths()["purelib"]])
    theirs = {"PATH": peers_path(), "PYTHONPATH": found, "TCP_NODELAY": "1"}
    return {**os.environ, **theirs, "BODYTAG_BENCH_NETWORK": str(network)}


@contextmanager
def orthanc(folder: Path, network: Path, archive: Archive) -> Iterator[Peer]:
    """Run Orthanc with the plugin in front of an archive."""
    folder.mkdir()
    port, http = free_port(), free_port()
    settings = json.loads((HERE / "orthanc.json").read_text(encoding="utf-8")) | {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomPort": port,
        "HttpPort": http,
        "DicomModalities": {"archive": ["ARCHIVE", "127.0.0.1", archive.port]},
        "Plugins": [str(PLUGIN)],
        "PythonScript": str(HERE / "orthanc_plugin.py"),
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    arguments = [command("Orthanc"), str(folder / "orthanc.json")]
    with (folder / "log").open("wb") as log, _ended(arguments, log, _environment(network)) as process:
        echo = [command("echoscu"), "-aec", "ORTHANC", "127.0.0.1", str(port)]
        wait_until(lambda: subprocess.run(echo, capture_output=True).returncode == 0, "Orthanc answers")

        def cpu_s() -> float:
            used = psutil.Process(process.pid).cpu_times()
            return float(used.user + used.system)

        yield Peer(port, cpu_s, lambda: None)


@contextmanager
def storescp(folder: Path, network: Path, archive: Archive) -> Iterator[Peer]:
    """Run storescp, which hands each study to the script one second after its last image."""
    folder.mkdir()
    port = free_port()
    script = f"{sys.executable} -m tests.bench.peers.relay #p {archive.port}"
    arguments = [command("storescp"), "-aet", "STORESCP", "-od", str(folder), "+xa", "-pdu", "131072"]
    arguments += [
        "--sort-on-study-uid",
        "study",
        "--eostudy-timeout",
        "1",
        "--exec-on-eostudy",
        script,
        str(port),
    ]
    with (
        (folder.parent / "storescp.log").open("wb") as log,
        _ended(arguments, log, _environment(network)) as process,
    ):
        echo = [command("echoscu"), "127.0.0.1", str(port)]
        wait_until(lambda: subprocess.run(echo, capture_output=True).returncode == 0, "storescp answers")

        def cpu_s() -> float:
            used = psutil.Process(process.pid).cpu_times()
            told = sum(float(path.read_text(encoding="ascii")) for path in folder.glob("*.used"))
            return float(used.user + used.system) + told

        def settled() -> None:
            studies = [path for path in folder.iterdir() if path.is_dir()]
            wait_until(lambda: all(relay.used(path).is_file() for path in studies), "the script ends")

        yield Peer(port, cpu_s, settled)


@contextmanager
def _ended(
    arguments: list[str], log: object, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(arguments, stdout=log, stderr=log, env=environment) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()
