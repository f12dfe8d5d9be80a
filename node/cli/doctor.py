"""The command `doctor`: holds the spool against the database, and mends it where it may."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from db.session import open_migrated
from node.cli.options import ConfigOption, JsonOption, sentences
from node.settings.config import load
from node.storage.doctor import WAITING, Doctor, Finding
from node.storage.semantics import lacking
from node.storage.spool import Spool, SpoolError

_SHOWN: Final = 20
"""Findings of a kind that are printed; JSON has all."""


def doctor(
    config: ConfigOption = Path("node.yaml"),
    repair: Annotated[
        bool, typer.Option("--repair", help="mend what can be mended; the node must not run")
    ] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="read every file, too")] = False,
    file_system: Annotated[
        bool, typer.Option("--file-system", help="only try whether the spool's file system can be relied on")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Hold the spool against the database and say what does not fit; safe beside a running node."""
    with sentences():
        settings = load(config)
        spool = Spool(settings.spool.folder, 0)
        if file_system:
            _try(spool.folder, as_json)
            return
        database = open_migrated(settings.database.url)
        with _alone(spool, required=repair) as alone:
            examiner = Doctor(spool, database, not alone, thorough)
            findings = examiner.examine()
            if repair:
                findings = [examiner.mend(each) for each in findings]
        database.close()
    print(json.dumps([_plain(each) for each in findings], indent=1) if as_json else _text(findings, repair))
    if any(each.lost or not each.mended for each in findings if each.kind != WAITING):
        raise typer.Exit(1)


def _try(folder: Path, as_json: bool) -> None:
    found = lacking(folder)
    if as_json:
        print(json.dumps(found))
    else:
        print("\n".join(found) or f"{folder} does all that the spool relies on, seen from this machine")
    if found:
        raise typer.Exit(1)


@contextmanager
def _alone(spool: Spool, required: bool) -> Iterator[bool]:
    """Hold the spool's lock, and tell whether that was possible; raises SpoolError where it is required."""
    try:
        lock = spool.lock()
    except SpoolError as error:
        if required:
            raise SpoolError(f"{error}; stop it, then repair") from error
        yield False
        return
    with lock:
        yield True


def _plain(finding: Finding) -> dict[str, object]:
    names = ("kind", "what", "path", "series_id", "lost", "mended")
    return {name: getattr(finding, name) for name in names}


def _text(findings: Sequence[Finding], repaired: bool) -> str:
    counts = Counter(each.kind for each in findings)
    lines: list[str] = []
    for kind, count in counts.items():
        some = [each for each in findings if each.kind == kind][:_SHOWN]
        lines += [f"{kind}: {_where(each)}{each.what}{_mended(each)}" for each in some]
        lines += [f"{kind}: and {count - len(some)} more"] if count > len(some) else []
    faults = sum(each.kind != WAITING for each in findings)
    if not faults:
        return "\n".join([*lines, "spool and database fit each other"])
    left = sum(not each.mended for each in findings if each.kind != WAITING)
    said = f"{faults} findings, {faults - left} mended" if repaired else f"{faults} findings; --repair mends"
    return "\n".join([*lines, said])


def _where(finding: Finding) -> str:
    if finding.path is not None:
        return f"{finding.path}: "
    return "" if finding.series_id is None else f"series {finding.series_id}: "


def _mended(finding: Finding) -> str:
    return " (mended)" if finding.mended else ""
