"""A Keras network as an ONNX graph of the same weights, so that a runtime made for CPUs can run it.

Written for the layers that `model/networks.py` uses, by hand: converters bring a runtime's own tools along,
some of which report their use, and hold on to old versions of numpy and protobuf. Keras numbers the axes
(n, rows, columns, channels), ONNX (n, channels, rows, columns); kernels are transposed here, once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

OPSET: Final = 17
IR_VERSION: Final = 9
"""Old enough for every runtime that the extras allow, new enough for all that is used here."""
INPUT: Final = "image"
OUTPUT: Final = "logits"


class NotExportableError(ValueError):
    """The network has a layer that is not written as ONNX; the message names it."""


@dataclass
class _Graph:
    """What was written so far: nodes in order, constants, and the name of each Keras tensor's counterpart."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    """The tensors themselves; the number of one that is gone may belong to another."""

    def add(self, operation: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        name = f"{operation.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def constant(self, values: NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def bind(self, tensor: Any, name: str) -> None:
        """Remember what a Keras tensor is called."""
        self.names[id(tensor)] = name
        self.kept.append(tensor)


def exported(model: Any) -> bytes:
    """Return the ONNX file of a keras.Model with one input (n, size, size, channels) and logits (n, k).

    Its input is `image`, float32 of the same shape, its output `logits`. Raises NotExportableError.
    """
    from onnx import TensorProto, checker, helper

    graph = _Graph()
    size, outputs = model.inputs[0].shape[1:], model.outputs[0].shape[1]
    logits = _walked(graph, model, graph.add("Transpose", [INPUT], perm=[0, 3, 1, 2]))
    graph.nodes.append(helper.make_node("Identity", [logits], [OUTPUT]))
    ends = (
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", *size])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", outputs])],
    )
    made = helper.make_model(
        helper.make_graph(graph.nodes, model.name, *ends, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="bodytag",
    )
    checker.check_model(made)
    return bytes(made.SerializeToString())


def _walked(graph: _Graph, model: Any, name: str) -> str:
    """Write a model, given what its input is called there, and return what its output is called."""
    import keras

    def record(layer: Any, *inputs: Any, **options: Any) -> Any:
        given = inputs[0] if isinstance(inputs[0], list | tuple) else inputs
        names = [graph.names[id(each)] for each in given]
        output = layer(*inputs, **options)
        inner = isinstance(layer, keras.Model)
        graph.bind(
            output, _walked(graph, layer, *names) if inner else _written(graph, layer, names, given[0])
        )
        return output

    image = keras.Input(model.inputs[0].shape[1:])
    graph.bind(image, name)
    copied = keras.models.clone_model(
        model, input_tensors=image, clone_function=_itself, call_function=record
    )
    return graph.names[id(copied.outputs[0])]


def _itself(layer: Any) -> Any:
    """Take the layer, with its weights, instead of a copy."""
    return layer


def _written(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    """Write a layer, given what its inputs are called and the Keras tensor of the first one."""
    kind = type(layer).__name__
    if kind not in LAYERS:
        raise NotExportableError(f"the layer {layer.name} ({kind}) cannot be written as ONNX")
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if activation not in ("linear", "relu"):
        raise NotExportableError(
            f"the layer {layer.name} ends with {activation}, which is not written as ONNX"
        )
    name = LAYERS[kind](graph, layer, inputs, tensor)
    return graph.add("Relu", [name]) if activation == "relu" else name


def _same(layer: Any, tensor: Any) -> list[int]:
    """Return the padding (top, left, bottom, right) that makes what `padding: same` of TensorFlow means."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    windows = getattr(layer, "kernel_size", None) or layer.pool_size
    missing = []
    for length, window, stride in zip(tensor.shape[1:3], windows, layer.strides, strict=True):
        missing.append(max(0, (-(-length // stride) - 1) * stride + window - length))
    before = [each // 2 for each in missing]
    return before + [whole - half for whole, half in zip(missing, before, strict=True)]


def _convolution(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    if tuple(layer.dilation_rate) != (1, 1) or getattr(layer, "groups", 1) != 1:
        raise NotExportableError(
            f"the layer {layer.name} is dilated or grouped, which is not written as ONNX"
        )
    kernel, *bias = (np.asarray(each) for each in layer.get_weights())
    alone = type(layer).__name__ == "DepthwiseConv2D"
    if alone and layer.depth_multiplier != 1:
        raise NotExportableError(f"the layer {layer.name} multiplies channels, which is not written as ONNX")
    axes = (2, 3, 0, 1) if alone else (3, 2, 0, 1)  # (rows, columns, in, out) or (rows, columns, in, 1)
    weights = [graph.constant(kernel.transpose(axes)), *map(graph.constant, bias)]
    return graph.add(
        "Conv",
        [*inputs, *weights],
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.strides),
        pads=_same(layer, tensor),
        group=tensor.shape[3] if alone else 1,
    )


def _normalisation(graph: _Graph, layer: Any, inputs: list[str], _tensor: Any) -> str:
    """Write a batch normalisation; its order of weights is that of ONNX."""
    values = [np.asarray(each, np.float32) for each in layer.get_weights()]
    if len(values) != 4:
        raise NotExportableError(f"the layer {layer.name} has no scale or no centre")
    names = [graph.constant(each) for each in values]
    return graph.add("BatchNormalization", [*inputs, *names], epsilon=float(layer.epsilon))


def _rectified(graph: _Graph, layer: Any, inputs: list[str], _tensor: Any) -> str:
    if layer.negative_slope or layer.threshold:
        raise NotExportableError(f"the layer {layer.name} lets negative values through")
    if layer.max_value is None:
        return graph.add("Relu", inputs)
    ends = [graph.constant(np.array(each, np.float32)) for each in (0.0, layer.max_value)]
    return graph.add("Clip", [*inputs, *ends])


def _padded(graph: _Graph, layer: Any, inputs: list[str], _tensor: Any) -> str:
    (top, bottom), (left, right) = layer.padding
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return graph.add("Pad", [*inputs, graph.constant(pads)])


def _pooled(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    return graph.add(
        "MaxPool",
        inputs,
        kernel_shape=list(layer.pool_size),
        strides=list(layer.strides),
        pads=_same(layer, tensor),
    )


def _averaged(graph: _Graph, layer: Any, inputs: list[str], _tensor: Any) -> str:
    if layer.keepdims:
        raise NotExportableError(f"the layer {layer.name} keeps its axes")
    return graph.add("Flatten", [graph.add("GlobalAveragePool", inputs)])


def _dense(graph: _Graph, layer: Any, inputs: list[str], _tensor: Any) -> str:
    return graph.add("Gemm", [*inputs, *(graph.constant(np.asarray(each)) for each in layer.get_weights())])


def _sum(graph: _Graph, _layer: Any, inputs: list[str], _tensor: Any) -> str:
    return graph.add("Add", inputs)


def _unchanged(_graph: _Graph, _layer: Any, inputs: list[str], _tensor: Any) -> str:
    """Write nothing: dropout is for training alone, and an activation is added to any layer that has one."""
    return inputs[0]


Writer = Callable[[_Graph, Any, list[str], Any], str]
LAYERS: Final[dict[str, Writer]] = {
    "Activation": _unchanged,
    "Add": _sum,
    "BatchNormalization": _normalisation,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": _unchanged,
    "GlobalAveragePooling2D": _averaged,
    "MaxPooling2D": _pooled,
    "ReLU": _rectified,
    "ZeroPadding2D": _padded,
}
"""How each kind of layer is written, by the name of its class."""
