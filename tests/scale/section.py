"""Sections of the written documents: each program rewrites its own and leaves the others as they are."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def split(document: str, title: str) -> tuple[str, str]:
    """Return a document without the section of a title, and the section, empty where there is none."""
    start = document.find(f"{title}\n")
    if start < 0:
        return document.rstrip() + "\n", ""
    end = document.find("\n## ", start + 1)
    own = document[start:] if end < 0 else document[start : end + 1]
    return (document[:start] + ("" if end < 0 else document[end + 1 :])).rstrip() + "\n", own


def rewrite(path: Path, title: str, text: str) -> None:
    """Write a section in place of the one that was there, at the end."""
    others, _ = split(path.read_text(encoding="utf-8") if path.exists() else "", title)
    path.write_text(f"{others}\n{title}\n\n{text.strip()}\n", encoding="utf-8")


def kept(path: Path, title: str) -> str:
    """Return the section of a title with an empty line before it, as it stands in a document; or nothing."""
    _, own = split(path.read_text(encoding="utf-8") if path.exists() else "", title)
    return f"\n{own.strip()}\n" if own else ""


def circumstances() -> str:
    """Say when and on what something was measured."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {memory:.0f} GiB, load average "
        f"{os.getloadavg()[0]:.1f}, Linux {platform.release()}, Python {platform.python_version()}"
    )
