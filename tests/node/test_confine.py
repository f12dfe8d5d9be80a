"""Tests of the limits of the process that decodes, each in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import node.service
from model.read import UndecodableError, read_header, read_pixels
from tests.builders import Recipe, write
from tests.node.hostile import MIB, measured, rss_bytes

NODE = Path(node.service.__file__).parent


def confined(code: str) -> subprocess.CompletedProcess[str]:
    """Run code under a limit of 512 MiB."""
    start = "from node.confine import confine\nconfine(512 * 1024**2)\n"
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=100)


def test_memory_beyond_the_limit_is_refused() -> None:
    """What would take 8 GiB raises MemoryError, and the process goes on."""
    done = confined(
        "try: bytearray(8 * 1024**3)\nexcept MemoryError: print('refused')\nprint(len(bytearray(1000)))"
    )
    assert done.stdout.split() == ["refused", "1000"], done.stderr


def test_no_core_is_dumped_and_the_process_is_the_first_to_go() -> None:
    """A crash leaves no patients' data on the disk; the kernel, short of memory, spares the receiver."""
    done = confined(
        "import resource, pathlib\nprint(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
        "print(pathlib.Path('/proc/self/oom_score_adj').read_text())"
    )
    assert [int(word) for word in done.stdout.split()] == [0, 500], done.stderr


def test_the_receiver_decodes_nothing() -> None:
    """The node's process loads no TensorFlow; only the worker's parts and the transcoder ask for pixels."""
    code = "import node.service, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "pynetdicom" in loaded
    assert not loaded & {"tensorflow", "keras"}
    asking = {
        path.name for path in NODE.rglob("*.py") if re.search("pixel_array|read_pixels", path.read_text())
    }
    assert asking == {"ahead.py", "glance.py", "looking.py", "transcode.py", "wholes.py"}


@pytest.mark.parametrize("overrides", [{"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 2_000_000_000}])
def test_a_header_that_promises_too_much_is_not_believed(tmp_path: Path, overrides: dict[str, int]) -> None:
    """Rows x Columns x Frames beyond the cap, or beyond what is there, is refused before memory is taken."""
    [path] = write(tmp_path, Recipe(n=1, overrides=overrides))
    header = read_header(path)
    before = rss_bytes()
    with pytest.raises(UndecodableError):
        read_pixels(header)
    assert measured(f"RSS growth, header with {overrides}", (rss_bytes() - before) / MIB, "MiB") < 20
