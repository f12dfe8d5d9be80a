"""The worker hangs, crashes or runs out of memory over one image; its series goes on, the others too."""

from tests.chaos.line import line
from tests.chaos.objects import series
from tests.chaos.plan import Plan, Result

HOW = {
    "hang": "no sign of life",
    "crash": "signal SIGABRT",
    "memory": "MemoryError",
}
"""What is built into the worker, and what the reason of the series says then."""


def spoiled(plan: Plan) -> Result:
    """Send three series; over one image of the second the worker fails, each time anew."""
    faults = dict(list(HOW.items())[1:2]) if plan.short else HOW
    with line(quick=False, classify={"hang_timeout_s": 10}) as made:
        for how, said in faults.items():
            files = [series(made.folder / "in", 5) for _ in range(3)]
            marked = files[1][2].name.split("+")[0]
            made.faults(worker=how, marked=marked)
            made.kill()
            made.node.start()
            for each in files:
                made.insist(each)
            counts = made.settle()
            reasons = [row.reason or "" for row in made.node.rows() if row.reason]
            assert any(said in reason for reason in reasons), reasons
    return Result(
        counts, f"{', '.join(faults)} over one image: its series passed on unlabelled, others classified"
    )
