"""A target with all that is computed once for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reenact.config import OutputSettings
from reenact.rendering.compositing import Paster
from reenact.types import Drive, Image, Renderer, Target

if TYPE_CHECKING:
    from reenact.rendering.matting import Matte


@dataclass(frozen=True, slots=True)
class PreparedTarget:
    """A target that is ready to be drawn, with all that is computed once for it.

    Attributes:
        target: at the renderer's size.
        renderer_name: of the renderer in the registry.
        renderer: prepared for the target.
        paster: puts the crop into the plate.
        rest_crop: the crop of the target at rest, uint8 (S, S, 3) RGB.
        matte: separates the target from its background; None if that is kept.
    """

    target: Target
    renderer_name: str
    renderer: Renderer
    paster: Paster
    rest_crop: Image
    matte: Matte | None


def prepare_target(
    target: Target, renderer_name: str, renderer: Renderer, rest: Drive, output: OutputSettings
) -> PreparedTarget:
    """Compute all that the frames of a target share.

    Args:
        target: at the renderer's size.
        renderer_name: of the renderer in the registry.
        renderer: that draws it.
        rest: what the target at rest is drawn from.
        output: what becomes of the picture.
    """
    renderer.prepare(target)
    rest_crop = renderer.render(rest)
    renderer.reset()
    paster = Paster(target, output.max_side)
    matte = None
    if output.background != "keep":
        matte = _open_matte(target, paster, rest_crop, output)
    return PreparedTarget(target, renderer_name, renderer, paster, rest_crop, matte)


def _open_matte(target: Target, paster: Paster, rest_crop: Image, output: OutputSettings) -> Matte:
    from reenact.rendering.matting import Matte

    if output.picture == "plate":
        return Matte(target, paster.paste(rest_crop), paster.square)
    return Matte(target, rest_crop.copy(), (0, 0, target.crop_size))
