"""LPIPS, FID and Inception Score, computed with networks that the user supplies.

    reenact evaluate … --lpips lpips.onnx --inception inception.onnx

The networks are ONNX or OpenVINO files, which contain no code. The LPIPS network takes two pictures
(1, 3, H, W) RGB in -1..1 and returns their distance. The Inception network takes one picture
(1, 3, 299, 299) RGB in -1..1. It returns the (1, 2048) features for FID and, as an optional second
output, the logits for the Inception Score. Export them with `torch.onnx.export` from
`lpips.LPIPS(net="alex")` and from torchvision's Inception v3. torchmetrics computes FID and the
Inception Score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from reenact.errors import ModelError
from reenact.imaging import resized_square, to_unit
from reenact.types import Array, Image

if TYPE_CHECKING:
    from torch import Tensor

_INCEPTION_PX: Final = 299


class LpipsDistance:
    """LPIPS (Zhang et al. 2018) by a network file. Use from one thread.

    Raises ModelError if the file is missing or damaged, or the network does not take two inputs.
    """

    def __init__(self, path: Path) -> None:
        from reenact.models.inference import FileNetwork

        self._network = FileNetwork(path, inputs=2)

    def between(self, true: Image, rendered: Image) -> float:
        """Return the distance of two pictures of the same size; 0 for equal ones."""
        return float(self._network([to_unit(true[None]), to_unit(rendered[None])])[0].mean())


class InceptionStatistics:
    """FID and Inception Score of one renderer's pictures. Use from one thread.

    Raises ModelError if the network is missing or damaged, or torchmetrics is not installed.
    """

    def __init__(self, path: Path) -> None:
        from reenact.models.inference import FileNetwork

        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
            from torchmetrics.image.inception import InceptionScore
        except ImportError as error:
            raise ModelError(
                f"FID needs torchmetrics ({error}); run: pip install '.[perceptual]'."
            ) from error
        self._network = FileNetwork(path, inputs=1)
        blank = np.zeros((_INCEPTION_PX, _INCEPTION_PX, 3), np.uint8)
        outputs = self._network([_unit_299(blank)])
        self._distance: Any = FrechetInceptionDistance(feature=_passthrough(outputs[0].shape[1]))
        self._score: Any = None
        if len(outputs) > 1:
            self._score = InceptionScore(feature=_passthrough(outputs[1].shape[1]), splits=1)

    def add(self, true: Image, rendered: Image) -> None:
        """Add a rendered picture and its true picture."""
        import torch

        for picture, real in ((true, True), (rendered, False)):
            outputs = [torch.from_numpy(one) for one in self._network([_unit_299(picture)])]
            self._distance.update(outputs[0], real=real)
            if self._score is not None and not real:
                self._score.update(outputs[1])

    def figures(self) -> dict[str, float | None]:
        """Return `fid` (lower is better) and `inception_score` over all pictures so far."""
        enough = int(self._distance.fake_features_num_samples) > 1
        figures: dict[str, float | None] = {
            "fid": float(self._distance.compute()) if enough else None
        }
        if self._score is not None:
            figures["inception_score"] = float(self._score.compute()[0])
        return figures


class PerceptualMetrics:
    """The perceptual metrics of several renderers; without networks they are empty.

    Raises ModelError if a network or library is missing or damaged.
    """

    def __init__(self, lpips: Path | None, inception: Path | None, names: Sequence[str]) -> None:
        self._distance = None if lpips is None else LpipsDistance(lpips)
        self._distributions = (
            {} if inception is None else {n: InceptionStatistics(inception) for n in names}
        )

    def compare(
        self, name: str, true: Sequence[Image], rendered: Sequence[Image]
    ) -> dict[str, float | None]:
        """Add a renderer's pictures of a clip; return the clip's `lpips`."""
        pairs = list(zip(true, rendered, strict=True))
        if name in self._distributions:
            for one, other in pairs:
                self._distributions[name].add(one, other)
        if self._distance is None:
            return {}
        values = [self._distance.between(one, other) for one, other in pairs]
        return {"lpips": float(np.mean(values)) if values else None}

    def totals(self, name: str) -> dict[str, float | None]:
        """Return a renderer's figures that exist only over all clips."""
        found = self._distributions.get(name)
        return {} if found is None else found.figures()


def _passthrough(width: int) -> Any:
    """Return an identity module: torchmetrics insists on a network."""
    from torch import nn

    class Passthrough(nn.Module):
        num_features = width

        def forward(self, features: Tensor) -> Tensor:
            return features

    return Passthrough()


def _unit_299(picture: Image) -> Array:
    return to_unit(resized_square(picture, _INCEPTION_PX)[None])
