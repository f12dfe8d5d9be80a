"""Peers that misbehave: destinations that refuse, abort, drip, are gone; modalities that are cut off."""

import threading

from tests.chaos import sender
from tests.chaos.line import line
from tests.chaos.objects import series
from tests.chaos.plan import Plan, Result
from tests.chaos.proxy import Proxy
from tests.harness import free_port, wait_until

_PAUSE = threading.Event()


def statuses(plan: Plan) -> Result:
    """Let single instances be answered with 0xA700, 0xB000 and 0xC000; one of them until it is given up."""
    with line() as made:
        [destination] = made.node.settings["destinations"]
        destination["retry"] |= {"maximum_age_s": plan.scaled(30, 15)}
        files = series(made.folder / "in", 12)
        uids = [path.name.split("+")[0] for path in files]
        made.archive.answers[uids[1]] = [0xA700] * 2
        made.archive.answers[uids[3]] = [0xB000]
        made.archive.answers[uids[5]] = [0xC000] * 3
        made.archive.answers[uids[7]] = [0xC000] * 100_000
        made.faults()
        made.node.start()
        made.insist(files)
        [row] = made.node.wait_for_state("failed")
        assert row.deliveries[0].failed, "what is always refused was not given up"
        made.archive.answers.clear()
        assert made.node.bodytag("resend", "--state", "failed").returncode == 0
        made.node.wait_for_state("delivered")
        return Result(
            made.settle(), "0xA700 twice, 0xB000, 0xC000 three times and until given up, then resent"
        )


def bad_lines(plan: Plan) -> Result:
    """Cut the line to the destination in the middle of objects, then let its answers drip."""
    with line() as made, Proxy(made.archive.port) as proxy:
        [destination] = made.node.settings["destinations"]
        destination |= {"port": proxy.port, "timeout_s": 3}
        made.faults()
        made.node.start()
        for cut in (300, 3000, 9000, 20_000):
            proxy.cut_after = cut
            made.insist(series(made.folder / "in", 10))
            before = proxy.cuts
            wait_until(lambda: proxy.cuts > before, "the line was cut", 30)  # noqa: B023
        proxy.cut_after = None
        proxy.drip_s = 0.05
        made.insist(series(made.folder / "in", 5))
        _PAUSE.wait(plan.scaled(15, 4))
        proxy.drip_s = 0
        return Result(made.settle(), f"{proxy.cuts} cuts in the middle of objects, then answers byte by byte")


def gone(plan: Plan) -> Result:
    """A second destination never answers; the first gets everything all the same, the second later."""
    nobody = free_port()
    with line() as made:
        made.node.settings["destinations"].append(made.archive.destination("gone", port=nobody))
        made.archive.stop()
        made.faults()
        made.node.start()
        files = [series(made.folder / "in", 5) for _ in range(int(plan.scaled(10, 3)))]
        for each in files:
            made.insist(each)
        made.archive.start()
        count = sum(len(each) for each in files)
        wait_until(lambda: len(made.archive.copies()) >= count, "the living destination got everything", 90)
        assert not made.node.rows(state="delivered"), "said to be delivered, but one destination was gone"
        made.node.settings["destinations"][1]["port"] = made.archive.port
        assert made.node.stop() == 0
        made.node.start()
        counts = made.settle()
        assert len(made.archive.copies()) >= 2 * count, "the destination that came back got less"
        return Result(counts, "one destination gone for the whole run beside one that lives, then back")


def cut_modalities(plan: Plan) -> Result:
    """Cut modalities off in the middle of objects: at every 1500th byte of an association."""
    with line(receive={"idle_timeout_s": 5}) as made:
        made.faults()
        made.node.start()
        with Proxy(made.node.port) as proxy:
            for cut in range(200, int(plan.scaled(40_000, 8_000)), 1500):
                proxy.cut_after = cut
                files = series(made.folder / "in", 6)
                sender.send(proxy.port, files, made.ledger, 5)
                made.insist(files)
            cuts = proxy.cuts
        return Result(made.settle(), f"{cuts} associations cut in the middle of an object, then sent again")
