"""What a network is here, and the two that are sortline's own: scaled pixels in, logits and features out.

Every network takes `(pixel - zero) / divisor` with one zero and one divisor for all three channels,
and zero is a whole number. So the 8-bit pixels themselves are a quantized tensor (that scale, that
zero point), the zeros that convolutions pad with are real grey pixels, and normalisation costs
nothing in the exported file.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Scaling:
    """How pixels, 0 to 255, become a network's input: (pixel - zero) / divisor, the same for R, G and B."""

    zero: int
    divisor: float


MIDDLE = Scaling(127, 128.0)  # EfficientNet-Lite0's own
IMAGENET_GREY = Scaling(114, 57.63)  # the mean of ImageNet's three means, and of its three deviations


class Network(nn.Module):
    """A backbone and a linear head over its features.

    forward takes RGB pixels as they are, float32 [N, 3, H, W], 0 to 255, and returns logits
    [N, classes] and features [N, D]. `core` is the same after scaling: that part is exported.
    """

    def __init__(self, backbone: nn.Module, width: int, classes: int, scaling: Scaling, dropout: float) -> None:
        super().__init__()
        self.scaling = scaling
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def core(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(scaled)
        return self.head(self.dropout(features)), features

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.core((pixels - self.scaling.zero) / self.scaling.divisor)


# --- EfficientNet-Lite0 -----------------------------------------------------------------------------

# The Lite0 row of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite:
# B0 without squeeze-and-excitation and with ReLU6, both of which suit 8-bit arithmetic.
LITE0_STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution with TensorFlow's SAME padding, and its batch norm.

    SAME pads a stride of 2 on an even size unequally, less on the left and top; on an odd one it would
    pad equally. Here the padding is that of even sizes, which inputs that are a multiple of 32 have
    throughout: others, as 300, end with an output less and see every pixel none the less.
    """
    less, more = (kernel - stride) // 2, (kernel - stride + 1) // 2
    pad = nn.Identity() if less == more else nn.ZeroPad2d((less, more, less, more))
    inside = less if less == more else 0  # a convolution pads equally without a copy of its input
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=inside, groups=groups, bias=False)
    return [pad, conv, nn.BatchNorm2d(outputs, eps=1e-3)]


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project back, and add the input where the shape allows (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        expand = [*_conv(inputs, inside), nn.ReLU6(inplace=True)] if expansion != 1 else []
        depthwise = [*_conv(inside, inside, kernel, stride, groups=inside), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*expand, *depthwise, *_conv(inside, outputs))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


class Lite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: float [N, 3, H, W] to features [N, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_conv(3, 32, kernel=3, stride=2), nn.ReLU6(inplace=True)]
        channels = 32
        for repeats, kernel, stride, expansion, outputs in LITE0_STAGES:
            for index in range(repeats):
                layers.append(InvertedBottleneck(channels, outputs, kernel, stride if index == 0 else 1, expansion))
                channels = outputs
        self.layers = nn.Sequential(*layers, *_conv(channels, 1280), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.layers(x), 1)


# --- SimpleCnn --------------------------------------------------------------------------------------


class SimpleCnn(nn.Sequential):
    """Two convolution and pooling blocks and a dense layer: float [N, 3, H, W] to features [N, 128].

    What the blocks find is averaged onto an 8 x 8 grid, so the dense layer has the same size at
    every input size that is a multiple of 32.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(8),
            nn.Flatten(),
            nn.Linear(64 * 8 * 8, 128),
            nn.ReLU(),
        )
