"""The region of a series by the exported network alone: what both peers call, in their own processes.

The same pixels, preprocessing and network as the node's, the most frequent class of all slices; no rules.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
from pydicom.dataset import Dataset

from model.preprocess import network_input
from model.regions import ABDOMEN_CHEST, BY_KEY

BATCH = 16


class Region:
    """The exported network, loaded once."""

    def __init__(self, network: Path) -> None:
        """`network` is the ONNX file; a JSON file beside it names size, preprocessing and classes."""
        self._card = json.loads(network.with_suffix(".json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(network), options, providers=["CPUExecutionProvider"]
        )

    def of(self, images: Iterable[Dataset]) -> str:
        """Return the Body Part Examined of a CT series."""
        inputs, said = self._inputs(images), Counter[int]()
        while batch := list(islice(inputs, BATCH)):
            [logits] = self._session.run(None, {"image": np.stack(batch)})
            said.update(int(each) for each in logits.argmax(axis=1))
        [(best, _)] = said.most_common(1)
        key = str(self._card["classes"][best])
        return BY_KEY["chest" if key == ABDOMEN_CHEST else key].term

    def _inputs(self, images: Iterable[Dataset]) -> Iterator[np.ndarray]:
        for ds in images:
            values = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
            grey, valid = values.astype(np.float32), np.ones(values.shape, np.bool_)
            spacing = (float(ds.PixelSpacing[0]), float(ds.PixelSpacing[1]))
            yield network_input(grey, valid, self._card["size"], spacing, self._card["preprocessing"])
