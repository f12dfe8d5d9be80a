"""A Keras network as an ONNX graph of the same weights, so that a runtime made for CPUs can run it.

Written for the layers that the networks here use, by hand: converters bring a runtime's own tools along,
some of which report their use, and hold on to old versions of numpy and protobuf. Keras numbers the axes
(n, rows, columns, channels), ONNX (n, channels, rows, columns); all that has three axes or more is turned so
on its way in and back on its way out, and kernels are transposed here, once.
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
"""The input of a network that has one; those of one with several have the names that Keras knows them by."""
OUTPUT: Final = "logits"
"""The first output; those after it have a number behind."""


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
        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def bind(self, tensor: Any, name: str) -> None:
        """Remember what a Keras tensor is called."""
        self.names[id(tensor)] = name
        self.kept.append(tensor)


def exported(model: Any) -> bytes:
    """Return the ONNX file of a keras.Model: float32 inputs and outputs of its shapes, in its order.

    Raises NotExportableError.
    """
    from onnx import checker, helper

    graph = _Graph()
    inputs = [INPUT] if len(model.inputs) == 1 else [str(each.name) for each in model.inputs]
    given = [
        _turned(graph, name, len(each.shape), inward=True)
        for name, each in zip(inputs, model.inputs, strict=True)
    ]
    outputs = []
    for number, (name, each) in enumerate(zip(_walked(graph, model, given), model.outputs, strict=True)):
        outputs.append(f"{OUTPUT}{number or ''}")
        end = _turned(graph, name, len(each.shape), inward=False)
        graph.nodes.append(helper.make_node("Identity", [end], [outputs[-1]]))
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            model.name,
            _ends(inputs, model.inputs),
            _ends(outputs, model.outputs),
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="bodytag",
    )
    checker.check_model(made)
    return bytes(made.SerializeToString())


def _ends(names: Sequence[str], tensors: Sequence[Any]) -> list[Any]:
    from onnx import TensorProto, helper

    pairs = zip(names, tensors, strict=True)
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *each.shape[1:]]) for name, each in pairs
    ]


def _turned(graph: _Graph, name: str, rank: int, *, inward: bool) -> str:
    """Bring the channels of a tensor to the front or, not inward, to the end again."""
    if rank < 3:
        return name
    perm = [0, rank - 1, *range(1, rank - 1)] if inward else [0, *range(2, rank), 1]
    return graph.add("Transpose", [name], perm=perm)


def _walked(graph: _Graph, model: Any, names: Sequence[str]) -> list[str]:
    """Write a model, given what its inputs are called there, and return what its outputs are called."""
    import keras

    def record(layer: Any, *inputs: Any, **options: Any) -> Any:
        given = list(inputs[0]) if isinstance(inputs[0], list | tuple) else list(inputs)
        tensors = [each for each in given if id(each) in graph.names]
        called = [graph.names[id(each)] for each in tensors]
        output = layer(*inputs, **options)
        if isinstance(layer, keras.Model):
            (name,) = _walked(graph, layer, called)
        elif type(layer).__name__ == "GetItem":
            name = _item(graph, layer, called, given)
        else:
            name = _written(graph, layer, called, tensors[0])
        graph.bind(output, name)
        return output

    inputs = [keras.Input(each.shape[1:], name=each.name) for each in model.inputs]
    for tensor, name in zip(inputs, names, strict=True):
        graph.bind(tensor, name)
    copied = keras.models.clone_model(
        model,
        input_tensors=inputs if isinstance(model.input, list) else inputs[0],
        clone_function=_itself,
        call_function=record,
    )
    return [graph.names[id(each)] for each in copied.outputs]


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
    """Return the padding, of all axes before and then behind, that TensorFlow means by `padding: same`."""
    if layer.padding == "valid":
        return [0, 0] * (len(tensor.shape) - 2)
    windows = getattr(layer, "kernel_size", None) or layer.pool_size
    missing = []
    for length, window, stride in zip(tensor.shape[1:-1], windows, layer.strides, strict=True):
        missing.append(max(0, (-(-length // stride) - 1) * stride + window - length))
    before = [each // 2 for each in missing]
    return before + [whole - half for whole, half in zip(missing, before, strict=True)]


def _convolution(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    if set(layer.dilation_rate) != {1} or getattr(layer, "groups", 1) != 1:
        raise NotExportableError(
            f"the layer {layer.name} is dilated or grouped, which is not written as ONNX"
        )
    kernel, *bias = (np.asarray(each) for each in layer.get_weights())
    alone = type(layer).__name__ == "DepthwiseConv2D"
    if alone and layer.depth_multiplier != 1:
        raise NotExportableError(f"the layer {layer.name} multiplies channels, which is not written as ONNX")
    n = kernel.ndim - 2  # (..., in, out), of a convolution channel by channel (..., in, 1)
    axes = (n, n + 1, *range(n)) if alone else (n + 1, n, *range(n))
    weights = [graph.constant(kernel.transpose(axes)), *map(graph.constant, bias)]
    return graph.add(
        "Conv",
        [*inputs, *weights],
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.strides),
        pads=_same(layer, tensor),
        group=tensor.shape[-1] if alone else 1,
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


def _dense(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    if len(tensor.shape) != 2:
        raise NotExportableError(
            f"the layer {layer.name} sees more than one vector, which is not written as ONNX"
        )
    return graph.add("Gemm", [*inputs, *(graph.constant(np.asarray(each)) for each in layer.get_weights())])


def _sum(graph: _Graph, _layer: Any, inputs: list[str], _tensor: Any) -> str:
    return graph.add("Add", inputs)


def _middle(graph: _Graph, _layer: Any, inputs: list[str], _tensor: Any) -> str:
    return graph.add("Mean", inputs)


def _joined(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    if _axis(layer.axis, tensor) != 1:
        raise NotExportableError(f"the layer {layer.name} joins other axes than channels")
    return graph.add("Concat", inputs, axis=1)


def _mean(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if len(axes) != 1 or layer.keepdims or _axis(axes[0], tensor) < 2:
        raise NotExportableError(
            f"the layer {layer.name} is no mean over one axis, which alone is written as ONNX"
        )
    return graph.add("ReduceMean", inputs, axes=[_axis(axes[0], tensor)], keepdims=0)


def _repeated(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    places = np.repeat(np.arange(tensor.shape[layer.axis]), layer.repeats)
    return graph.add(
        "Gather", [*inputs, graph.constant(places.astype(np.int64))], axis=_axis(layer.axis, tensor)
    )


def _expanded(graph: _Graph, layer: Any, inputs: list[str], tensor: Any) -> str:
    if len(tensor.shape) != 2 or layer.axis != 1:
        raise NotExportableError(f"the layer {layer.name} adds another axis than one of places to vectors")
    return graph.add("Unsqueeze", [*inputs, graph.constant(np.array([2], np.int64))])


def _item(graph: _Graph, layer: Any, inputs: list[str], given: Sequence[Any]) -> str:
    """Write one place of the first axis behind that of the images: x[:, place]."""
    tensor, key = given
    if len(key) != 2 or key[0] != slice(None) or not isinstance(key[1], int) or len(tensor.shape) < 4:
        raise NotExportableError(f"the layer {layer.name} takes something else than one place of an axis")
    return graph.add("Gather", [*inputs, graph.constant(np.array(key[1], np.int64))], axis=2)


def _axis(axis: int, tensor: Any) -> int:
    """Return the number in ONNX of an axis of Keras: channels come second there, all others one later."""
    rank = len(tensor.shape)
    place = axis % rank
    return 1 if place == rank - 1 else place + (place > 0)


def _unchanged(_graph: _Graph, _layer: Any, inputs: list[str], _tensor: Any) -> str:
    """Write nothing: dropout is for training alone, and an activation is added to any layer that has one."""
    return inputs[0]


Writer = Callable[[_Graph, Any, list[str], Any], str]
LAYERS: Final[dict[str, Writer]] = {
    "Activation": _unchanged,
    "Add": _sum,
    "Average": _middle,
    "BatchNormalization": _normalisation,
    "Concatenate": _joined,
    "Conv1D": _convolution,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": _unchanged,
    "ExpandDims": _expanded,
    "GlobalAveragePooling2D": _averaged,
    "GlobalAveragePooling3D": _averaged,
    "MaxPooling2D": _pooled,
    "MaxPooling3D": _pooled,
    "Mean": _mean,
    "ReLU": _rectified,
    "Repeat": _repeated,
    "ZeroPadding2D": _padded,
}
"""How each kind of layer is written, by the name of its class."""
