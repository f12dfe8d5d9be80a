"""The balancer of docker/scale as it is shipped, but for the addresses of the receivers."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.delivery.scu import Peer, echo
from node.delivery.transport import PeerError
from tests.harness import DEADLINE_S, command, free_port, wait_until

SHIPPED: Final = Path(__file__).parents[2] / "docker/scale/haproxy.cfg"


@contextmanager
def balancer(folder: Path, receivers: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Run HAProxy in front of receivers, given as DICOM port and status port; gives its own port."""
    port = free_port()
    servers = "\n".join(
        f"    server receiver{number} 127.0.0.1:{dicom} check port {status} inter 500ms"
        for number, (dicom, status) in enumerate(receivers)
    )
    text = SHIPPED.read_text(encoding="utf-8").replace("bind :11112", f"bind 127.0.0.1:{port}")
    text = re.sub(r"resolvers docker\n(    .*\n)+", "", text, count=1)
    text = re.sub(r"    server-template .*", servers, text)
    path = folder / "haproxy.cfg"
    path.write_text(text, encoding="utf-8")
    process = subprocess.Popen([command("haproxy"), "-db", "-f", str(path)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(port), "a receiver answers behind the balancer")
        yield port
    finally:
        process.kill()
        process.wait(DEADLINE_S)


def _answers(port: int) -> bool:
    try:
        return echo(Peer("BODYTAG", "127.0.0.1", port, "TEST", 5)) == 0
    except PeerError:
        return False
