"""The disk is full: the node refuses with 0xA700, keeps what it took, and goes on when there is room."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos import sender
from tests.chaos.line import line
from tests.chaos.objects import series
from tests.chaos.plan import AT_THE_END, Plan, Result
from tests.harness import wait_until


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """Mount a small file system in memory (as root) until the block ends."""
    with tempfile.TemporaryDirectory(prefix="bodytag-disk-") as name:
        options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", name]
        subprocess.run(["mount", *options], check=True, capture_output=True)
        AT_THE_END.callback(_unmount, name)
        try:
            yield Path(name)
        finally:
            _unmount(name)


def _unmount(name: str) -> None:
    if Path(name).is_mount():
        subprocess.run(["umount", "--lazy", name], check=True, capture_output=True)


def full(plan: Plan) -> Result:
    """Fill a small disk by hand under a spool without a floor, in the middle of sending; then make room."""
    count = int(plan.scaled(600, 150))
    with small_disk(24) as disk, line(spool={"folder": str(disk / "spool"), "minimum_free": 0}) as made:
        made.faults()
        made.node.start()
        made.insist(series(made.folder / "in", 20))
        ballast = disk / "ballast"
        _fill(ballast)
        left = sender.send(made.node.port, series(made.folder / "in", count), made.ledger)
        assert left, "the disk was not full"
        assert "0xA700" in made.node.log.read_text()
        ballast.unlink()
        made.insist(left)
        counts = made.settle()
    return Result(counts, f"{len(left)} of {count} refused with 0xA700 on a full tmpfs, then accepted")


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def quota(plan: Plan) -> Result:
    """Send three times the quota while the archive takes it: delivered files go, undelivered ones stay."""
    size = 5000
    count = int(plan.scaled(600, 150))
    allowed = size * count // 3
    with line(spool={"quota": allowed}) as made:
        made.faults()
        made.node.start()
        refused = 0
        for _ in range(count // 25):
            left = sender.send(made.node.port, series(made.folder / "in", 25), made.ledger)
            refused += len(left)
            made.insist(left)
        spool = made.node.folder / "spool"
        counts = made.settle()
        used = sum(path.stat().st_size for path in (spool / "instances").rglob("*.dcm"))
        assert used <= allowed, "the spool is over its quota"
        wait_until(lambda: "delivered files removed" in made.node.log.read_text(), "files were removed")
    return Result(counts, f"{count} instances through a spool that holds a third; {refused} told to wait")
