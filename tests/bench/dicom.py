"""Receiving, forwarding and rewriting headers, in turns with dcmtk and pydicom."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from pydicom import dcmread, uid

from db.deliveries import resend
from db.records import DeliveryWork, Outcome, Route
from db.session import migrate
from node.clock import utc_now
from node.delivery.forward import Forwarder
from node.delivery.outgoing import Outgoing
from node.delivery.scu import Peer, connect
from node.relabelling.coercion import WRITE
from node.relabelling.relabel import Modifier
from node.settings.destinations import DicomDestination
from rules.decide import decide
from rules.verdict import Evidence
from tests.bench.measure import Run, Sample, Table, Watch, at_rest, interleaved, own
from tests.builders import Recipe
from tests.harness import Archive, command, free_port, make_node, storescu, wait_until
from tests.node.bench import opened
from tests.orthanc import Orthanc
from tests.relabelled import write_copy

PDU = ("-pdu", "131072")
_SYNCING = "storescp that syncs"
CONTEXT = (uid.CTImageStorage, uid.ExplicitVRLittleEndian)


def receive(folder: Path, files: Sequence[Path], rounds: int, associations: int) -> Table:
    """The node, storescp and Orthanc, fed by the same storescu processes."""
    fresh = count()
    forks = ("--fork",) if associations > 1 else ()

    def node() -> Sample:
        here = folder / f"node{next(fresh)}"
        shipped = {"processes": None}  # as many as there are cores
        described = make_node(here, series={"stable_age_s": 3600}, web={"enabled": False}, receive=shipped)
        running = described.start()
        assert running.process is not None
        wait_until(partial(at_rest, running.process.pid), "the node has imported all it needs")
        try:
            fed = _feed(running.port, running.process.pid, files, associations)
            assert len(list((here / "spool" / "instances").rglob("*.dcm"))) == len(files)
            return fed
        finally:
            running.stop()
            shutil.rmtree(here)

    def peer(**environment: str) -> Sample:
        archive = Archive(folder / f"peer{next(fresh)}", free_port())
        archive.start("+xa", "+B", *PDU, *forks, **environment)
        assert archive.process is not None
        try:
            fed = _feed(archive.port, archive.process.pid, files, associations)
            assert len(archive.files()) == len(files)
            return fed if associations == 1 else Sample(fed.wall_s)  # the children's time is not to be had
        finally:
            archive.stop()
            shutil.rmtree(archive.folder)

    def orthanc() -> Sample:
        here = folder / f"orthanc{next(fresh)}"
        server = Orthanc(here, overwrite=True)
        server.configure(SyncStorageArea=True, ConcurrentJobs=1, DicomThreadsCount=8)
        with server.running():
            fed = _feed(server.port, server.pid, files, associations)
            assert len(server.get("instances")) == len(files)
        shutil.rmtree(here)
        return fed

    what = _received(associations)
    title = f"Receive, {associations} association{'s' if associations > 1 else ''}"
    syncing = partial(peer, LD_PRELOAD=str(_durable(folder)))
    runs: dict[str, Run] = {_SYNCING: syncing, "node": node, "Orthanc": orthanc, "storescp as shipped": peer}
    return interleaved(title, what, len(files), rounds, runs, _SYNCING)


def _received(associations: int) -> str:
    """Say what receiving is compared with."""
    return (
        f"{associations} storescu process{'es' if associations > 1 else ''} (-R, PDU 128 KiB), start "
        "included. The node answers after fsync of file and folder and keeps a digest. storescp "
        f"(+B{' --fork' if associations > 1 else ''}) that syncs does the same at each file's end, by a "
        "library loaded before the C library (tests/bench/durable.c), since it has no option for it; as "
        "shipped it does not sync. Orthanc has SyncStorageArea, which syncs the file but not its folder. "
        "Before each run as much memory is touched as it will write, since the host of a virtual machine "
        "takes back what was free."
    )


def _durable(folder: Path) -> Path:
    """Compile the library that makes storescp sync."""
    library = folder.resolve() / "durable.so"
    if not library.exists():
        source = Path(__file__).with_name("durable.c")
        compiler = [command("cc"), "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(compiler, check=True)
    return library


def _feed(port: int, pid: int, files: Sequence[Path], associations: int) -> Sample:
    _touch_memory(files)
    watch = Watch(pid)
    parts = [files[start::associations] for start in range(associations)]
    with ThreadPoolExecutor(associations) as pool:
        for done in pool.map(lambda part: storescu(port, part, "-R", *PDU), parts):
            assert done.returncode == 0, done.stderr
    return watch.sample()


def _touch_memory(files: Sequence[Path]) -> None:
    """Use as much page cache as a run will write, and free it.

    Memory that a virtual machine left free for some seconds belongs to its host, and to touch it again costs
    more than all else here: whoever starts fast after another's files were removed would be spared that.
    """
    scratch = files[0].parent / "scratch"
    with scratch.open("wb") as file:
        for path in files:
            file.write(path.read_bytes())
    scratch.unlink()


def forward(folder: Path, files: Sequence[Path], recipe: Recipe, rounds: int) -> Table:
    """storescu, the node's SCU alone, and its forwarder with database and relabelled copies."""
    archive = Archive(folder / "forwarded", free_port()).start("+xa", "+B", *PDU)
    peer = Peer("ARCHIVE", "127.0.0.1", archive.port, "BODYTAG", 10)

    def scu() -> None:
        with connect(peer, [CONTEXT]) as sender:
            for path in files:
                assert sender.store(Outgoing(path)).status == 0

    def dcmtk() -> None:
        done = storescu(archive.port, files, "-R", *PDU)
        assert done.returncode == 0, done.stderr

    what = (
        "To one storescp (+B, PDU 128 KiB). The start of storescu's process counts, Python's does not. The "
        "forwarder makes each copy, sends it, and records the deliveries in groups."
    )
    with ExitStack() as stack:
        stack.callback(archive.stop)
        whole = stack.enter_context(_forwarder(folder / "forwarder", archive, recipe))
        runs = {
            "storescu": _wall(dcmtk),
            "node, SCU alone": own(scu),
            "node, forwarder with relabelled copies and SQLite": whole,
        }
        return interleaved("Forward, one association", what, recipe.n, rounds, runs, "storescu")


@contextmanager
def _forwarder(folder: Path, archive: Archive, recipe: Recipe) -> Iterator[Run]:
    """Prepare a series with a verdict; each run delivers it again, relabelled."""
    certain = np.tile(np.array([1.0, 0.0], np.float32), (recipe.n, 1))
    evidence = Evidence(("chest", "head"), certain, np.arange(recipe.n, dtype=np.float64))
    outcome = Outcome(decide(evidence, (), 0.5), (), None, "d" * 64, "0")
    route = Route("archive", WRITE)
    destination = DicomDestination.model_validate(archive.destination())
    modifier = Modifier("BODYTAG", 1 << 30)
    with opened(folder, _migrated(folder)) as bench:
        row = bench.decided(recipe, outcome, (route,))
        forwarder = Forwarder(destination, "BODYTAG", bench.database, bench.spool, modifier)

        def run() -> Sample:
            with bench.database.session() as session:
                armed = resend(session, [row.series_id], None, False, [route], utc_now())
            assert armed == recipe.n
            watch = Watch()
            while bench.rows()[0].deliveries[0].pending:
                forwarder.deliver_due(threading.Event())
            return watch.sample()

        run()  # what was due from the beginning
        assert dcmread(archive.files()[0], stop_before_pixels=True).BodyPartExamined == "CHEST"
        yield run


def _migrated(folder: Path) -> str:
    folder.mkdir(parents=True)
    url = f"sqlite:///{folder / 'bench.sqlite'}"
    migrate(url)
    return url


def rewrite(folder: Path, files: Sequence[Path], rounds: int) -> Table:
    """The relabelled copy against pydicom and dcmodify, which set the one tag only."""
    target = folder / "copy.dcm"
    modified = [Path(shutil.copy(path, folder / f"dcmodify-{path.name}")) for path in files]
    modifier = Modifier("BODYTAG", 1 << 30)
    now = datetime.now(UTC)
    code = ("HEAD", "69536005", "Head")
    work = DeliveryWork(1, 1, "1", *CONTEXT, "", WRITE, 0, now, now, *code, False, 0.9, "head", "d" * 64, "0")

    def node() -> None:
        assert all(write_copy(work, path, target, modifier) for path in files)

    def pydicom() -> None:
        for path in files:
            data_set = dcmread(path)
            data_set.BodyPartExamined = "HEAD"
            data_set.save_as(target)

    def dcmodify() -> None:
        arguments = [command("dcmodify"), "-nb", "-i", "BodyPartExamined=HEAD", *map(str, modified)]
        subprocess.run(arguments, check=True)

    runs: dict[str, Run] = {
        "pydicom dcmread + save_as": own(pydicom),
        "dcmodify, one process for all, in place": _wall(dcmodify),
        "node": own(node),
    }
    what = (
        "The node's copy carries Original Attributes, Contributing Equipment and Anatomic Region, too; "
        "the others set Body Part Examined alone. Nothing is synced."
    )
    return interleaved("Rewrite a header", what, len(files), rounds, runs, "pydicom dcmread + save_as")


def _wall(work: Callable[[], object]) -> Run:
    """Make a run whose CPU time another process used."""
    return lambda: Sample(own(work)().wall_s)
