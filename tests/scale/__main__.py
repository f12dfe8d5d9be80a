"""python -m tests.scale: kill an installation's processes and servers under load, into RELIABILITY.md."""

import logging
import random
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from tests.chaos.__main__ import SEVERAL
from tests.scale.cluster import cluster
from tests.scale.kills import BROKER, DATABASE, Outcome, run
from tests.scale.section import circumstances, rewrite

PARTS: Final = tuple(f"{role}-{number}" for role in ("receiver", "worker", "forwarder") for number in (1, 2))

HEAD: Final = """\
Written by `make chaos-scale`. Two receivers, two workers, two forwarders, each a process of its own, over
one PostgreSQL, one shared spool and one broker. Every series is sent in two parts, each to a receiver by
chance, and again until all of it was answered with Success. Processes are killed by `kill -9` and started
again; the servers, too. The columns are those above; *split*: series that became more than one, or none;
*differently*: series for which two different decisions were made. *Late* counts parts of series that came
after the decision, which is what the rest of a killed receiver's becomes.
"""
TABLE: Final = (
    "| broker | series | killed | sent | Success | lost | wrong | twice | split | differently | late | s |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def main(
    series: Annotated[int, typer.Option(help="how many series are sent with each broker")] = 200,
    kills: Annotated[int, typer.Option(help="how many kills of processes")] = 60,
    brokers: Annotated[list[str] | None, typer.Option(help="rabbitmq or redis; both")] = None,
    seed: Annotated[int, typer.Option(help="what is killed when")] = 7,
    out: Annotated[Path | None, typer.Option(help="whose section is rewritten")] = None,
) -> None:
    """Run with each broker; exit with 1 where anything was lost, doubled, split or decided differently."""
    warnings.simplefilter("ignore", ResourceWarning)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    found: dict[str, Outcome] = {}
    for kind in brokers or ["rabbitmq", "redis"]:
        with cluster(kind) as made:
            made.start_all(receiver=2, worker=2, forwarder=2)
            found[kind] = run(made, series, plan(kills, seed), seed, deadline_s=600)
            print(kind, found[kind], flush=True)
    if out is not None:
        rewrite(out, SEVERAL, text(found))
    raise typer.Exit(0 if all(each.good for each in found.values()) else 1)


def plan(kills: int, seed: int) -> list[str]:
    """Choose what is killed, in which order: processes by chance, and every fifteenth time a server."""
    chance = random.Random(seed)
    chosen = [chance.choice(PARTS) for _ in range(kills)]
    for place in range(len(chosen) - 1, 0, -15):
        chosen[place:place] = [BROKER if place % 2 else DATABASE]
    return chosen if {BROKER, DATABASE} <= set(chosen) else [*chosen, BROKER, DATABASE]


def text(found: dict[str, Outcome]) -> str:
    """Write the section."""
    lines = [HEAD, *TABLE]
    for kind, each in found.items():
        killed = ", ".join(f"{count} {name}" for name, count in sorted(each.kills.items()))
        counts = each.counts
        figures = (counts.sent, counts.answered, counts.lost, counts.wrong, counts.twice)
        more = (each.split, each.differently, each.late, round(each.took_s))
        row = " | ".join(map(str, (kind, each.series, killed, *figures, *more)))
        lines.append(f"| {row} |")
    packages = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "psycopg", "redis"))
    lines += ["", f"{circumstances()}, {packages}. The networks are the stand-in of the faults above."]
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
