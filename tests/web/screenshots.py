"""Pictures for the README: a real node, real series, a real browser. Run by `make screenshots`."""

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import sync_playwright

from db.accounts import Role
from db.session import open_database
from node.cli.peers import send_files
from node.delivery.scu import Peer
from node.web.context import make_context
from tests.harness import Archive, RunningNode, command, free_port, make_node, running, wait_until
from tests.web.visiting import DESK, PHONE, Site, Visitor

DATA: Final = Path("../shared/data/dicom")
OUT: Final = Path("node/web/screenshots")
SENDERS: Final = {"xr": "DX_ROOM2", "mr": "MR_3T", "ct": "CT_ER_1"}
SHOWN: Final = "STS_049"
"""The patient whose series has a page in the README: foot and calf, tagged EXTREMITY."""
START_S: Final = 900.0
"""A machine that trains a network beside it takes its time."""

_SHOTS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("series", "/series", {}),
    ("one", "", {}),
    ("one-phone", "", {"viewport": PHONE, "color_scheme": "dark"}),
    ("dashboard", "/dashboard", {"color_scheme": "dark"}),
    ("destinations", "/destinations", {}),
)
_HEIGHT: Final = {"series": 900, "one": 1180, "one-phone": 1500, "dashboard": 1000, "destinations": 420}


def main() -> int:
    """Make all pictures; returns the exit status."""
    if not DATA.is_dir():
        print(f"There are no real series in {DATA}.")
        return 1
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, busy_node(Path(folder)) as node:
        database = open_database(node.config.database.url)
        site = Site(f"http://127.0.0.1:{node.config.web.port}", make_context(node.config, database))
        shown = next(row.series_id for row in node.rows() if row.patient_id == SHOWN)
        shoot(site, shown)
        database.close()
    return 0


@contextmanager
def busy_node(folder: Path) -> Iterator[RunningNode]:
    """Run a node with an archive that takes everything and one that is off, and send it real series."""
    archive = Archive(folder / "archive", free_port()).start()
    off = {
        "name": "old-pacs",
        "ae_title": "OLDPACS",
        "host": "127.0.0.1",
        "port": free_port(),
        "timeout_s": 2,
    }
    node = make_node(folder / "node", archive.destination(), off, web={"enabled": True, "port": free_port()})
    try:
        with running(node):
            sent = sum(_send(node, DATA / name, sender) for name, sender in SENDERS.items())
            wait_until(lambda: _decided(node) and sent, "every series is decided", START_S)
            yield node
    finally:
        archive.stop()


def _send(node: RunningNode, folder: Path, sender: str) -> int:
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    results = send_files(Peer("BODYTAG", "127.0.0.1", node.port, sender, 60), files, quiet=True)
    return sum(each.stored for each in results)


def _decided(node: RunningNode) -> bool:
    rows = node.rows()
    return len(rows) > 20 and all(row.decided_at is not None for row in rows)


def shoot(site: Site, series_id: int) -> None:
    """Take every picture of a page that runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command("chromium"), args=["--no-sandbox"])
        for name, path, options in _SHOTS:
            viewport = {**options.get("viewport", DESK), "height": _HEIGHT[name]}
            visitor = Visitor(browser, site, **{**options, "viewport": viewport})
            visitor.log_in(Role.OPERATOR)
            visitor.page.goto(path or f"/series/{series_id}")
            visitor.page.wait_for_load_state("networkidle")
            picture = Image.open(io.BytesIO(visitor.page.screenshot()))
            picture.convert("RGB").save(OUT / f"{name}.webp", quality=82, method=6)
            print(f"{OUT / name}.webp: {(OUT / f'{name}.webp').stat().st_size // 1024} KiB")
            visitor.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
