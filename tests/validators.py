"""dicom3tools' validators as the tests ask them: what they say of a copy and did not say of its original."""

import subprocess
from pathlib import Path
from typing import Final

from tests.harness import command

ACCEPTED: Final = (
    "Unrecognized defined term <",  # its list of terms is older than Table L-1
    "is only permitted to be empty when actually unknown",  # Laterality: it is unknown
    "Bad group length - Group 0x8 ",  # was wrong before; it moves with its group
)
"""New messages that are no fault of the copy."""
ACCEPTED_OF_TERM: Final = {
    # It takes a term that it does not know for one of a pair.
    "PELVISLOWEXTREMT": "Missing attribute Type 2C Conditional Element=<Laterality>",
}
"""New messages that are no fault of a copy with this term."""


def messages(program: str, *paths: Path) -> set[str]:
    """Return the errors and warnings that a validator has of files."""
    done = subprocess.run([command(program), *map(str, paths)], capture_output=True, check=False, timeout=120)
    text = (done.stdout + done.stderr).decode("utf-8", errors="replace")
    return {line for line in text.splitlines() if line.startswith(("Error", "Warning"))}


def new_messages(path: Path, copy: Path, term: str = "") -> list[str]:
    """Return what dciodvfy says of the copy, did not say of the original, and is not accepted."""
    added = messages("dciodvfy", copy) - messages("dciodvfy", path)
    accepted = (*ACCEPTED, ACCEPTED_OF_TERM[term]) if term in ACCEPTED_OF_TERM else ACCEPTED
    return sorted(line for line in added if not any(known in line for known in accepted))
