"""Targets compared, and weights that they may have."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import WarpUNetConfig
from reenact.models.weights import save_model
from reenact.types import Target


def same_target(first: Target, second: Target) -> bool:
    """Tell whether two targets show the same: pictures, landmarks and place, to the last bit."""
    names = ("references", "landmarks", "neutral", "plate", "crop_to_plate")
    pairs = [(getattr(first, name), getattr(second, name)) for name in names]
    for name in ("alphas", "plate_alpha"):
        one, other = getattr(first, name), getattr(second, name)
        if (one is None) != (other is None):
            return False
        if one is not None:
            pairs.append((one, other))
    return all(np.array_equal(one, other) and one.dtype == other.dtype for one, other in pairs)


def write_weights(folder: Path) -> Path:
    """Write a small safetensors file and return its path."""
    path = folder / "trained.safetensors"
    save_file({"layer": np.arange(6, dtype=np.float32)}, path, {"architecture": "test"})
    return path


def write_narrow_weights(path: Path) -> Path:
    """Write the weights of a narrow network that has learned nothing.

    It draws the mesh's warp, and darkens it, so that there is something to learn.
    """
    config = WarpUNetConfig((8, 8, 8, 8))
    torch.manual_seed(1)
    facts = {"architecture": "warp_unet", "config": json.dumps(asdict(config)), "data": "nobody"}
    network = WarpUNet(config)
    assert network.picture_head.bias is not None
    torch.nn.init.constant_(network.picture_head.bias, -0.1)
    save_model(path, network.state_dict(), facts)
    return path
