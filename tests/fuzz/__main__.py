"""Run as `python -m tests.fuzz`: attacks a node for ten minutes, or as long as told; says what was seen."""

import argparse
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

import pynetdicom

from node.version import VERSION
from tests.fuzz.campaign import campaign


def main() -> int:
    """Run a campaign; 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder) / "node", options.seconds, options.seed)
    print(
        f"bodytag {VERSION}, pynetdicom {pynetdicom.__version__}, Python {platform.python_version()}:"
        f" {found.sequences} hostile connections in {time.monotonic() - started:.0f} s,"
        f" {found.probes} C-ECHO between them, the slowest {found.slowest_s:.2f} s,"
        f" memory grew by at most {found.grown_mib:.0f} MiB, {len(found.faults)} findings"
    )
    for fault in found.faults:
        print(f"finding: {fault}")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
