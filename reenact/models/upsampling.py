"""Layers of convolutional generators that double what they are given (Radford 2016, DCGAN)."""

from __future__ import annotations

from typing import Final, Literal

from torch import nn

_LAYERS: Final = {
    1: (nn.ConvTranspose1d, nn.BatchNorm1d),
    2: (nn.ConvTranspose2d, nn.BatchNorm2d),
    3: (nn.ConvTranspose3d, nn.BatchNorm3d),
}


def doubling(inputs: int, outputs: int, axes: Literal[1, 2, 3] = 2) -> nn.Sequential:
    """Return a transposed convolution that doubles each axis, normalised by the batch.

    Args:
        inputs: channels before.
        outputs: channels after.
        axes: 1 for time, 2 for pictures, 3 for videos.
    """
    convolution, normalisation = _LAYERS[axes]
    layer = convolution(inputs, outputs, 4, 2, 1, bias=False)
    return nn.Sequential(layer, normalisation(outputs), nn.ReLU())


def drawing(inputs: int, axes: Literal[2, 3] = 2) -> nn.Sequential:
    """Return the last layer, which doubles each axis and gives colours in -1..1."""
    return nn.Sequential(_LAYERS[axes][0](inputs, 3, 4, 2, 1), nn.Tanh())
