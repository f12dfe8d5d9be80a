"""Limits that the kernel holds a process to that decodes what strangers sent: memory, and no core dumps."""

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

_FIRST_TO_GO: Final = "500"
"""Added to the process's badness: where memory runs out all the same, it goes, not the receiver (proc(5))."""


def confine(maximum_memory_bytes: int | None) -> None:
    """Limit this process and its threads; None sets no limit of memory.

    RLIMIT_DATA counts private memory that can be written to, reserved or used (getrlimit(2)). RLIMIT_AS would
    count the files and the address space that TensorFlow only maps, too. Beyond the limit Python raises
    MemoryError, and native code fails or ends the process, which its parent then replaces.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would be full of patients' data
    with suppress(OSError):  # only Linux has it
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
    if maximum_memory_bytes is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = maximum_memory_bytes if hard == resource.RLIM_INFINITY else min(hard, maximum_memory_bytes)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
