"""The networks by name (Keras 3), and the dataclass that defines one.

A checkpoint carries its own definition: `Definition.as_json` stands in the card beside the weights,
and `build` makes the same network from it. Keras (with TensorFlow) is imported only inside `build`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from model import efficientnet
from model.preprocess import PREPROCESSINGS, SIZED, WHOLE

SMALL: Final = "small_residual"
PAPER: Final = "resnet50v2"
LITE: Final = "efficientnet_lite0"
MOBILE: Final = "mobilenet_v1"
CHANCE: Final = 1
"""Seed of dropout. Given one, Keras keeps the generator's state beside the weights whatever its backend."""
MOST_MEMBERS: Final = 16
"""More networks than anybody would wait for; what a card says is not built without a limit."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What has to be known to build a network.

    `network` is a name in NETWORKS; the input is (size, size, channels): grey, grey three times over,
    or grey and the size in mm (2 channels, preprocessing `sized`); the output is one logit per class,
    in the order of `classes`.
    `parts` are the classes of a second head; its logits follow those of the first.
    `widths` and `blocks` (residual blocks a stage) concern the small residual network alone.
    `preprocessing` (model/preprocess.py) is what it was trained with; cards that do not name one mean
    the whole image. `members` networks of one kind, trained apart, say the mean of their logits, which is
    the geometric mean of their probabilities (model/training/ensemble.py).
    """

    network: str
    classes: tuple[str, ...]
    size: int = 128
    channels: int = 1
    widths: tuple[int, ...] = (24, 48, 96, 192)
    blocks: int = 2
    dropout: float = 0.2
    preprocessing: str = WHOLE
    parts: tuple[str, ...] = ()
    members: int = 1

    @property
    def outputs(self) -> tuple[str, ...]:
        """The name of every output: the classes, then the parts as `part KEY`."""
        return (*self.classes, *(f"part {key}" for key in self.parts))

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """First and last-but-one output of each head."""
        ends = (len(self.classes), len(self.outputs))
        return ((0, ends[0]), ends) if self.parts else ((0, ends[0]),)

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(
                f"no network is called {self.network!r}; there are {', '.join(sorted(NETWORKS))}"
            )
        channels = (2,) if self.preprocessing == SIZED else (1, 3)
        small = self.size < 32 or len(self.classes) < 2
        if self.channels not in channels or small or not 1 <= self.members <= MOST_MEMBERS:
            raise ValueError(f"{self} does not define a network")
        if self.preprocessing not in PREPROCESSINGS:
            raise ValueError(
                f"no preprocessing is called {self.preprocessing!r}; there are {', '.join(PREPROCESSINGS)}"
            )

    def as_json(self) -> dict[str, object]:
        """Return the definition as plain values for the card."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Definition":
        """Read what `as_json` wrote; raises TypeError, KeyError or ValueError where it is something else."""
        return cls(
            network=str(plain["network"]),
            classes=tuple(str(key) for key in plain["classes"]),
            size=int(plain["size"]),
            channels=int(plain["channels"]),
            widths=tuple(int(width) for width in plain["widths"]),
            blocks=int(plain["blocks"]),
            dropout=float(plain["dropout"]),
            preprocessing=str(plain.get("preprocessing", WHOLE)),
            parts=tuple(str(key) for key in plain.get("parts", ())),
            members=int(plain.get("members", 1)),
        )


def default(network: str, classes: tuple[str, ...]) -> Definition:
    """Return the definition of a network by name as the papers or the measurements have it."""
    if network == PAPER:
        return Definition(PAPER, classes, size=224, channels=3)
    if network == MOBILE:
        return Definition(MOBILE, classes, size=512, channels=3)
    if network == LITE:
        return Definition(LITE, classes, size=160)
    return Definition(network, classes)


def build(definition: Definition) -> Any:
    """Return the untrained keras.Model of a definition: float32 (n, size, size, channels) -> (n, outputs)."""
    alone = replace(definition, members=1)
    members = [NETWORKS[alone.network](alone) for _ in range(definition.members)]
    return members[0] if len(members) == 1 else _together(members)


def _together(members: Sequence[Any]) -> Any:
    """Put networks of one definition side by side; the weights of one follow those of the other."""
    import keras
    from keras import layers

    image = keras.Input(members[0].inputs[0].shape[1:])  # (n, size, size, channels)
    said = []
    for number, member in enumerate(members):
        member.name = f"{member.name}_{number}"
        said.append(member(image))  # (n, outputs)
    return keras.Model(image, layers.Average()(said), name="ensemble")


def _small_residual(definition: Definition) -> Any:
    """Four stages of residual blocks (He et al. 2016), 1.6 million parameters at the default widths."""
    import keras
    from keras import layers

    def convolve(x: Any, width: int, kernel: int, stride: int = 1) -> Any:
        x = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    # shapes at size 128 and the default widths
    image = keras.Input((definition.size, definition.size, definition.channels))  # (n, 128, 128, 1)
    x = layers.ReLU()(convolve(image, definition.widths[0], 5, 2))  # (n, 64, 64, 24)
    for stage, width in enumerate(definition.widths):
        for block in range(definition.blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            y = layers.ReLU()(convolve(x, width, 3, stride))  # (n, 64 >> stage, 64 >> stage, width)
            y = convolve(y, width, 3)
            if stride > 1 or x.shape[-1] != width:
                x = convolve(x, width, 1, stride)
            x = layers.ReLU()(layers.Add()([x, y]))  # (n, 64 >> stage, 64 >> stage, width)
    x = layers.GlobalAveragePooling2D()(x)  # (n, 192)
    x = layers.Dropout(definition.dropout, seed=CHANCE)(x)
    logits = layers.Dense(len(definition.outputs))(x)  # (n, outputs)
    return keras.Model(image, logits, name=SMALL)


def _resnet50v2(definition: Definition) -> Any:
    """The paper's network (Raffy et al. 2023), from scratch: 224 px, 3 channels, 23.6 million parameters."""
    import keras
    from keras import layers

    shape = (definition.size, definition.size, definition.channels)
    body = keras.applications.ResNet50V2(include_top=False, weights=None, input_shape=shape, pooling="avg")
    image = keras.Input(shape)  # (n, 224, 224, 3)
    x = body(image)  # (n, 2048)
    x = layers.Dropout(definition.dropout, seed=CHANCE)(x)
    logits = layers.Dense(len(definition.outputs))(x)  # (n, outputs)
    return keras.Model(image, logits, name=PAPER)


def _efficientnet_lite0(definition: Definition) -> Any:
    """The light network (model/efficientnet.py), 3.4 million parameters."""
    import keras
    from keras import layers

    image = keras.Input((definition.size, definition.size, definition.channels))  # (n, 160, 160, 1)
    x = layers.Dropout(definition.dropout, seed=CHANCE)(efficientnet.features(image))  # (n, 1280)
    logits = layers.Dense(len(definition.outputs))(x)  # (n, outputs)
    return keras.Model(image, logits, name=LITE)


def _mobilenet_v1(definition: Definition) -> Any:
    """The router of Pham et al. 2021 for radiographs, from scratch: 512 px, 3.2 million parameters."""
    import keras
    from keras import layers

    shape = (definition.size, definition.size, definition.channels)
    body = keras.applications.MobileNet(include_top=False, weights=None, input_shape=shape, pooling="avg")
    image = keras.Input(shape)  # (n, 512, 512, 3)
    x = layers.Dropout(definition.dropout, seed=CHANCE)(body(image))  # (n, 1024)
    logits = layers.Dense(len(definition.outputs))(x)  # (n, outputs)
    return keras.Model(image, logits, name=MOBILE)


NETWORKS: Final[dict[str, Callable[[Definition], Any]]] = {
    SMALL: _small_residual,
    LITE: _efficientnet_lite0,
    PAPER: _resnet50v2,
    MOBILE: _mobilenet_v1,
}
