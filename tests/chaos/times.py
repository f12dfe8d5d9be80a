"""Time and order: a jumping clock, late images, one UID twice, ten thousand series, a new configuration."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.chaos import objects
from tests.chaos.line import line
from tests.chaos.objects import series
from tests.chaos.plan import Plan, Result
from tests.harness import wait_until

_PAUSE = threading.Event()
HOUR_S = 3600
DAY_S = 24 * HOUR_S


def clock(plan: Plan) -> Result:
    """Let the wall clock jump an hour ahead, a day back, a year ahead, while series are under way."""
    jumps = (HOUR_S, -DAY_S, 365 * DAY_S, 0)
    with line(spool={"keep_days": 1}) as made:
        file = made.folder / "clock"
        file.write_text("0")
        made.faults(clock=str(file))
        made.node.start()
        for jump in jumps:
            made.insist(series(made.folder / "in", 8))
            new = file.with_name("next")
            new.write_text(str(jump))
            new.rename(file)
            made.insist(series(made.folder / "in", 8))
            _PAUSE.wait(plan.scaled(3, 1))
        return Result(made.settle(), "+1 h, -1 day, +1 year and back, with keep_days 1")


def late(plan: Plan) -> Result:
    """Send the second half of a series one second before and after it is stable, and a day later."""
    del plan
    stable_s = 2.0
    with line(series={"stable_age_s": stable_s}) as made:
        file = made.folder / "clock"
        file.write_text("0")
        made.faults(clock=str(file))
        made.node.start()
        third = series(made.folder / "in", 6)
        made.insist(third[:3])
        for pause_s in (stable_s - 1, stable_s, stable_s + 1):
            files = series(made.folder / "in", 6)
            made.insist(files[:3])
            _PAUSE.wait(pause_s)
            made.insist(files[3:])
        made.settle()
        file.write_text(str(DAY_S))
        made.insist(third[3:])
        counts = made.settle()
        assert {row.instances for row in made.node.rows()} == {6}
        for row in made.node.rows():
            assert row.deliveries[0].sent == 6
        return Result(counts, "at stable_age_s -1 s, +0 s, +1 s, and a day later")


def same_uid(plan: Plan) -> Result:
    """Send one UID again: identical, with other pixels, in another series; before and after the decision."""
    with line() as made:
        made.faults()
        made.node.start()
        kept = 0
        for _ in range(int(plan.scaled(5, 2))):
            number, other = objects.next_number(), objects.next_number()
            folder, instance = made.folder / "in", number * 1000
            first = objects.write(folder, number, instance)
            different = objects.write(folder, number, instance, shade=150)
            elsewhere = objects.write(folder, other, instance)
            for files in ([first, first], [first, different], [elsewhere, first]):
                made.insist(files)
            made.settle()
            made.insist([different, elsewhere, first])
            kept += 2
        counts = made.settle()
        # What has no delivery, settling does not wait for.
        expected = kept
        wait_until(
            lambda: sum(row.conflicts for row in made.node.rows()) == expected,
            f"{expected} different ones are shown",
        )
        return Result(counts, f"identical ones ignored, {kept} different ones kept beside and shown")


def many(plan: Plan) -> Result:
    """Send as many series, of one image each, over four associations at once."""
    count = int(plan.scaled(10_000, 100))
    with line() as made:
        made.faults()
        made.node.start()
        done = 0
        with ThreadPoolExecutor(4) as pool:
            while done < count and not plan.over(reserve_s=plan.scaled(300, 60)):
                parts = [
                    [path for _ in range(25) for path in series(made.folder / "in", 1)] for _ in range(4)
                ]
                list(pool.map(lambda part: made.insist(part, 300), parts))
                done += 100
                while made.backlog() > 400:
                    _PAUSE.wait(0.2)
        deadline_s = max(60.0, plan.left_s() - 30)
        wait_until(lambda: made.settled(delivered=True), f"{done} series are delivered", deadline_s)
        return Result(made.judge(), f"{done} series of one image over four associations", done >= count)


def configured(plan: Plan) -> Result:
    """Change the configuration while the queue is full: another policy, and one more destination."""
    count = int(plan.scaled(300, 40))
    with line() as made:
        made.archive.stop()
        made.faults()
        made.node.start()
        for _ in range(count // 20):
            made.insist(series(made.folder / "in", 20))
        made.node.wait_for_state("classified", count // 20)
        decided = {row.series_instance_uid: row.term for row in made.node.rows()}
        assert made.node.stop() == 0
        destinations = made.node.settings["destinations"]
        destinations[0]["relabel"] = "never"
        destinations.append(made.archive.destination("second", relabel="never"))
        made.node.start()
        made.insist(series(made.folder / "in", 5))
        made.archive.start()
        counts = made.settle()
        now = {row.series_instance_uid: row.term for row in made.node.rows()}
        assert decided.items() <= now.items(), "a decision changed with the configuration"
        return Result(counts, f"{count} instances queued; what was decided stayed as it was")
