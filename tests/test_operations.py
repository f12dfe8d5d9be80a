"""What admins are told of a running node: troubles by webhook, figures by /metrics, kills in the trail."""

import json
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread
from pynetdicom import AE

from tests.builders import Recipe, write
from tests.harness import Archive, free_port, make_node, running, storescu, wait_until
from tests.node.delivering import WebPeer, web_peer
from tests.node.hostile import audited
from tests.web.test_metrics import samples

AT_ONCE = {"destination_down_s": 0.2, "check_s": 0.2, "gather_s": 0, "pause_s": 0}


def told(hook: WebPeer, change: str) -> list[str]:
    """List the kinds of troubles that a webhook was told of as begun or ended."""
    messages: list[dict[str, Any]] = [json.loads(body)["data"] for body in hook.bodies]
    return [each["kind"] for message in messages for each in message[change]]


def test_an_outage_is_two_messages_however_many_images(tmp_path: Path) -> None:
    """One when the destination stays away, one when it is back; meanwhile the metrics show what waits."""
    archive = Archive(tmp_path / "archive", free_port())
    page = {"enabled": True, "port": free_port(), "metrics_hosts": ["127.0.0.1/32"]}
    with web_peer() as hook:
        notify = AT_ONCE | {"webhooks": [{"name": "pager", "url": hook.url}]}
        node = make_node(tmp_path / "node", archive.destination(), web=page, notify=notify)
        with running(node):
            assert storescu(node.port, write(tmp_path / "in", Recipe(n=5))).returncode == 0
            wait_until(lambda: told(hook, "begun"), "the webhook is told of the outage")
            shown = samples(httpx.get(f"http://127.0.0.1:{page['port']}/metrics", timeout=60).text)
            assert shown["bodytag_received_instances_total", "other,dicom"] == 5
            assert shown["bodytag_pending_deliveries", "archive"] == 5
            assert shown["bodytag_destination_up", "archive"] == 0
            archive.start()
            node.wait_for_state("delivered")
            wait_until(lambda: told(hook, "ended"), "the webhook is told of its end")
        archive.stop()
        assert told(hook, "begun") == told(hook, "ended") == ["destination_down"]


def test_a_kill_leaves_who_was_sending_in_the_trail(tmp_path: Path) -> None:
    """What an open association had sent is told by its beginning, and by what the next start finds."""
    node = make_node(tmp_path / "node", series={"stable_age_s": 600}).start()
    [path] = write(tmp_path / "in", Recipe(n=1))
    data_set = dcmread(path)
    ae = AE("CT1")
    ae.add_requested_context(data_set.SOPClassUID, data_set.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", node.port, ae_title="BODYTAG")
    assert association.send_c_store(data_set).Status == 0x0000
    node.kill()
    association.abort()
    trail = node.config.audit.file
    assert trail is not None
    lines = [each for each in audited(trail) if "study" in each]
    assert [(each["code"], each["source"]["ae_title"]) for each in lines] == [("110102", "CT1")]
    with running(node):
        found = [each for each in audited(trail) if each.get("reason") == "found in the spool at start"]
    assert [(each["study"], each["instances"]) for each in found] == [(lines[0]["study"], 1)]
