"""What storescp runs at the end of a study: python -m tests.bench.peers.relay FOLDER PORT.

Classifies the files of the folder, sets Body Part Examined by dcmodify, sends them on by storescu, and writes
beside the folder how much CPU time that took.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pydicom
import pydicom.filereader

from tests.bench.peers.region import Region


def main() -> None:
    """Do it, once."""
    folder, port = Path(sys.argv[1]), sys.argv[2]
    files = sorted(folder.iterdir())
    region = Region(Path(os.environ["BODYTAG_BENCH_NETWORK"]))
    term = region.of(pydicom.dcmread(path) for path in files)
    names = [str(path) for path in files]
    subprocess.run(["dcmodify", "-nb", "-i", f"BodyPartExamined={term}", *names], check=True)
    packed = pydicom.filereader.read_file_meta_info(files[0]).TransferSyntaxUID.is_compressed
    sender = ["storescu", "-R", *(["-xv"] if packed else []), "-pdu", "131072", "-aec", "ARCHIVE"]
    subprocess.run([*sender, "127.0.0.1", port, *names], check=True)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(each.ru_utime + each.ru_stime for each in usage)
    made = used(folder).with_suffix(".part")
    made.write_text(f"{cpu_s:.3f}", encoding="ascii")
    made.rename(used(folder))


def used(folder: Path) -> Path:
    """Name the file that says what CPU time a study took."""
    return folder.parent / f"{folder.name}.used"


if __name__ == "__main__":
    main()
