"""A target together with everything that is computed once for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from reenact.config import OutputSettings
from reenact.imaging import letterbox
from reenact.rendering.compositing import Paster
from reenact.rendering.label import write_label
from reenact.targets.surroundings import shown_square
from reenact.types import CutsOut, Drive, Frame, Image, Renderer, Target

if TYPE_CHECKING:
    from reenact.live.backdrop import Backdrop
    from reenact.rendering.matting import Alpha


@dataclass(slots=True)
class PreparedTarget:
    """A target that is ready to be drawn, with everything that is computed once for it.

    Attributes:
        target: at the renderer's size.
        renderer_name: registered name of the renderer.
        renderer: prepared for the target.
        paster: pastes the crop into the plate.
        rest_crop: the crop of the target at rest, uint8 (S, S, 3) RGB.
        backdrop: replaces the background; None before `open_backdrop`.
        square: left, top and side, px of the crop, of the square around the face.
    """

    target: Target
    renderer_name: str
    renderer: Renderer
    paster: Paster
    rest_crop: Image
    backdrop: Backdrop | None = None
    square: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.square = shown_square(self.target)

    def open_backdrop(self, output: OutputSettings) -> None:
        """Find the target's outline, which takes a second; any thread may call.

        Raises:
            ReenactError: no person is found in the target's picture.
        """
        from reenact.live.backdrop import Backdrop
        from reenact.rendering.matting import Matte

        if self.backdrop is not None:
            return
        shown = self._shown(self.rest_crop, output)
        if output.picture == "plate":
            matte = Matte(self.target, shown, self.paster.square, self.paster.plate_alpha)
            rest = matte.whole
        else:
            alpha = None if self.target.alphas is None else self.target.alphas[0]
            matte = Matte(self.target, self.rest_crop, (0, 0, self.target.crop_size), alpha)
            rest = self._square(matte.crop)
        self.backdrop = Backdrop(shown, rest, matte.crop, matte.on_white)

    def _shown(self, crop: Image, output: OutputSettings) -> Image:
        """Return a crop in the plate, or only the square around the face."""
        if output.picture == "plate":
            return self.paster.paste(crop)
        return self._square(crop)

    def _square(self, crop: Image) -> Image:
        """Return a copy of the square around the face."""
        left, top, side = self.square
        return crop[top : top + side, left : left + side].copy()

    def _alpha(self, backdrop: Backdrop, drive: Drive | None, output: OutputSettings) -> Alpha:
        """Return the person's alpha in a picture, uint8 (H, W)."""
        if drive is None or not isinstance(self.renderer, CutsOut):
            return backdrop.rest
        alpha = self.renderer.cut_out(backdrop.crop)
        if output.picture == "plate":
            return self.paster.paste_alpha(alpha, backdrop.rest)
        return self._square(alpha)

    def picture(
        self, crop: Image, drive: Drive | None, actor: Frame | None, output: OutputSettings
    ) -> tuple[Image, Image | None]:
        """Return the output for a crop, and its alpha channel if it has one.

        Args:
            crop: the rendered crop.
            drive: what it was rendered from; None for the target at rest.
            actor: the actor's frame; None if there is none.
            output: selects pasting, background, and the actor's picture beside the target.
        """
        picture = self._shown(crop, output)
        alpha = None
        if self.backdrop is not None and output.background != "keep":
            cut_out = self._alpha(self.backdrop, drive, output)
            picture, alpha = self.backdrop.lay(picture, cut_out, output)
        if output.label.strip():
            alpha = None if alpha is None else alpha.copy()
            write_label(picture, alpha, output.label.strip())
        if output.show_raw_camera:
            side = picture.shape[0]
            nobody = np.zeros((side, side, 3), np.uint8)
            panel = nobody if actor is None else letterbox(actor.image, (side, side))
            picture = np.concatenate([panel, picture], axis=1)
            if alpha is not None:
                alpha = np.pad(alpha, ((0, 0), (side, 0)), constant_values=255)
        return picture, alpha


def prepare_target(
    target: Target, renderer_name: str, renderer: Renderer, rest: Drive, output: OutputSettings
) -> PreparedTarget:
    """Compute everything that the frames of a target share.

    Args:
        target: at the renderer's size.
        renderer_name: registered name of the renderer.
        renderer: draws the target.
        rest: drive of the target at rest.
        output: settings of the output picture.
    """
    renderer.prepare(target)
    rest_crop = renderer.render(rest)
    renderer.reset()
    paster = Paster(target, output.max_side)
    prepared = PreparedTarget(target, renderer_name, renderer, paster, rest_crop)
    if output.background != "keep":
        prepared.open_backdrop(output)
    return prepared
