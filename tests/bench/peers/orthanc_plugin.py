"""A script for Orthanc's Python plugin: a stable series is classified, modified and sent on.

Orthanc runs it itself, with PYTHONPATH set to the packages and BODYTAG_BENCH_NETWORK to the network.
The copy is a new series, as Orthanc's `modify` makes it; it carries Body Part Examined and no other change.
"""

import io
import json
import os
import queue
import threading
from pathlib import Path

import orthanc
import pydicom

from tests.bench.peers.region import Region

STABLE: "queue.Queue[str]" = queue.Queue()


def on_change(change: int, _level: int, resource: str) -> None:
    """Note what became stable; REST calls within this function would block Orthanc."""
    if change == orthanc.ChangeType.STABLE_SERIES:
        STABLE.put(resource)


def work() -> None:
    """Classify, modify and send one series after the other."""
    region = Region(Path(os.environ["BODYTAG_BENCH_NETWORK"]))
    while True:
        series = STABLE.get()
        about = json.loads(orthanc.RestApiGet(f"/series/{series}"))
        if "ModifiedFrom" in about:
            continue  # its own work
        term = region.of(
            pydicom.dcmread(io.BytesIO(orthanc.GetDicomForInstance(each))) for each in about["Instances"]
        )
        changes = json.dumps({"Replace": {"BodyPartExamined": term}})
        copy = json.loads(orthanc.RestApiPost(f"/series/{series}/modify", changes))
        orthanc.RestApiPost("/modalities/archive/store", copy["ID"])


orthanc.RegisterOnChangeCallback(on_change)
threading.Thread(target=work, daemon=True).start()
