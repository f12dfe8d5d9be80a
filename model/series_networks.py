"""The networks for whole CT series by name (Keras 3), and the dataclass that defines one.

`projections` is the light one: three views of the volume as it stands in the patient through small towers,
with outputs for the label of the whole, contrast, and the region of each stretch of the height; and three
views of the stack as it is stored for the axis. `resnet50_3d` is that of Li et al. 2024, as one body with
three heads: 128 x 224 x 224 in the stack's own axes, Hounsfield units -1000..400 as 0..1.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from model.projections import CHANNELS, ROWS, SIZE, THIRDS, TONES, VIEWS
from model.regions import CT_CLASSES
from model.series_labels import AXES, CONTRASTS, PAPER_PARTS, PARTS

LIGHT: Final = "projections"
PAPER: Final = "resnet50_3d"
STACK_SIZE: Final = 48
"""Side of the views of the stack as it is stored: an axis shows in little."""
CHANCE: Final = 1
HEADS: Final = ("part", "contrast", "axis", "rows")
"""Outputs of the light network, in this order; the paper's has the first three."""
BOTTLENECKS: Final = (3, 4, 6, 3)
"""Blocks of each stage of a ResNet with 50 layers (He et al. 2016, Table 1)."""


@dataclass(frozen=True, slots=True)
class SeriesDefinition:
    """What has to be known to build a network for whole series.

    `shape` is (slices, rows, columns) of the paper's network; `widths` are those of the stages.
    """

    network: str
    parts: tuple[str, ...] = PARTS
    axes: tuple[str, ...] = AXES
    contrasts: tuple[str, ...] = CONTRASTS
    regions: tuple[str, ...] = CT_CLASSES
    widths: tuple[int, ...] = (20, 40, 80, 144)
    shape: tuple[int, ...] = (128, 224, 224)
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            names = ", ".join(sorted(NETWORKS))
            raise ValueError(f"no network for series is called {self.network!r}; there are {names}")
        if len(self.widths) != 4 or len(self.shape) != 3 or min(self.widths) < 1 or min(self.shape) < 16:
            raise ValueError(f"{self} does not define a network")

    def as_json(self) -> dict[str, object]:
        """Return the definition as plain values for the card."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "SeriesDefinition":
        """Read what `as_json` wrote; raises TypeError, KeyError or ValueError where it is something else."""
        return cls(
            network=str(plain["network"]),
            parts=tuple(str(key) for key in plain["parts"]),
            axes=tuple(str(key) for key in plain["axes"]),
            contrasts=tuple(str(key) for key in plain["contrasts"]),
            regions=tuple(str(key) for key in plain["regions"]),
            widths=tuple(int(width) for width in plain["widths"]),
            shape=tuple(int(length) for length in plain["shape"]),
            dropout=float(plain["dropout"]),
        )


def default(network: str) -> SeriesDefinition:
    """Return the definition of a network by name; the paper's has its sixteen labels and no other."""
    if network == PAPER:
        return SeriesDefinition(PAPER, parts=PAPER_PARTS, regions=(), widths=(64, 128, 256, 512))
    return SeriesDefinition(network)


def build(definition: SeriesDefinition) -> Any:
    """Return the untrained keras.Model of a definition; its outputs are logits, one array for each head."""
    return NETWORKS[definition.network](definition)


def _projections(definition: SeriesDefinition) -> Any:
    """Six small residual towers, 1.5 million parameters, 0.1 billion multiplications a series."""
    import keras
    from keras import layers, ops

    upright = keras.Input((VIEWS, SIZE, SIZE, CHANNELS), name="upright")  # (n, 3, 96, 96, 4)
    stack = keras.Input((VIEWS, STACK_SIZE, STACK_SIZE, CHANNELS), name="stack")  # (n, 3, 48, 48, 4)
    scale = keras.Input((1,), name="scale")  # (n, 1)
    tones = keras.Input((THIRDS * TONES,), name="tones")  # (n, 96)
    pooled, lines = [scale], []
    for view in range(VIEWS):
        fine, deep, whole = _tower(upright[:, view], definition.widths)  # (n, 24, 24, 40), (n, 12, 12, 80)
        pooled.append(whole)
        if view < 2:
            lines += [ops.mean(fine, axis=2), ops.repeat(ops.mean(deep, axis=2), 2, axis=1)]  # (n, 24, width)
    everything = layers.Dropout(definition.dropout, seed=CHANCE)(layers.Concatenate()(pooled))  # (n, 433)
    part = layers.Dense(len(definition.parts), name="part")(everything)
    hidden = layers.Dense(64, activation="relu")(layers.Concatenate()([everything, tones]))
    contrast = layers.Dense(len(definition.contrasts), name="contrast")(hidden)
    context = ops.repeat(ops.expand_dims(layers.Dense(32, activation="relu")(everything), 1), ROWS, axis=1)
    rows = layers.Concatenate()([*lines, context])  # (n, 24, 272)
    rows = layers.Conv1D(96, 5, padding="same", activation="relu")(rows)
    rows = layers.Conv1D(len(definition.regions), 3, padding="same", name="rows")(rows)  # (n, 24, 18)
    narrow = tuple(max(8, width // 2) for width in definition.widths)
    seen = [_tower(stack[:, view], narrow)[2] for view in range(VIEWS)]
    axis = layers.Dropout(definition.dropout, seed=CHANCE)(layers.Concatenate()(seen))
    axis = layers.Dense(len(definition.axes), name="axis")(axis)
    return keras.Model([upright, scale, tones, stack], [part, contrast, axis, rows], name=LIGHT)


def _tower(x: Any, widths: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Return the features at a quarter and an eighth of the side, and those of the whole view."""
    from keras import layers

    x = layers.ReLU()(_convolved(x, widths[0], 5, 2))  # (n, 48, 48, 20)
    fine = _block(x, widths[1], 2)  # (n, 24, 24, 40)
    deep = _block(_block(fine, widths[2], 2), widths[2], 1)  # (n, 12, 12, 80)
    whole = _block(deep, widths[3], 2)  # (n, 6, 6, 144)
    return fine, deep, layers.GlobalAveragePooling2D()(whole)


def _block(x: Any, width: int, stride: int) -> Any:
    from keras import layers

    y = layers.ReLU()(_convolved(x, width, 3, stride))
    y = _convolved(y, width, 3)
    if stride > 1 or x.shape[-1] != width:
        x = _convolved(x, width, 1, stride)
    return layers.ReLU()(layers.Add()([x, y]))


def _convolved(x: Any, width: int, kernel: int, stride: int = 1) -> Any:
    from keras import layers

    x = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def _resnet50_3d(definition: SeriesDefinition) -> Any:
    """The paper's network, 46 million parameters: bottlenecks of 3D convolutions, three heads."""
    import keras
    from keras import layers

    image = keras.Input((*definition.shape, 1), name="stack")  # (n, 128, 224, 224, 1)
    x = layers.ReLU()(_convolved_3d(image, definition.widths[0], 7, 2))  # (n, 64, 112, 112, 64)
    x = layers.MaxPooling3D(3, 2, padding="same")(x)  # (n, 32, 56, 56, 64)
    for stage, (width, blocks) in enumerate(zip(definition.widths, BOTTLENECKS, strict=True)):
        for block in range(blocks):
            x = _bottleneck(x, width, 2 if block == 0 and stage > 0 else 1)
    x = layers.GlobalAveragePooling3D()(x)  # (n, 2048)
    named = (("part", definition.parts), ("contrast", definition.contrasts), ("axis", definition.axes))
    heads = [layers.Dense(len(classes), name=name)(x) for name, classes in named]
    return keras.Model(image, heads, name=PAPER)


def _bottleneck(x: Any, width: int, stride: int) -> Any:
    from keras import layers

    y = layers.ReLU()(_convolved_3d(x, width, 1))
    y = layers.ReLU()(_convolved_3d(y, width, 3, stride))
    y = _convolved_3d(y, 4 * width, 1)
    if stride > 1 or x.shape[-1] != 4 * width:
        x = _convolved_3d(x, 4 * width, 1, stride)
    return layers.ReLU()(layers.Add()([x, y]))


def _convolved_3d(x: Any, width: int, kernel: int, stride: int = 1) -> Any:
    from keras import layers

    x = layers.Conv3D(width, kernel, strides=stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


NETWORKS: Final[dict[str, Callable[[SeriesDefinition], Any]]] = {LIGHT: _projections, PAPER: _resnet50_3d}
