"""A target together with everything that is computed once for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from reenact.config import OutputSettings
from reenact.imaging import letterbox
from reenact.rendering.compositing import Paster
from reenact.sinks.label import write_label
from reenact.targets.framing import is_square_only, view_of
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
        shape: `output.shape` of its pictures.
        square_only: True if the square around the face is the picture.
        backdrop: replaces the background; None before `open_backdrop`.
        square: left, top and side, px of the crop, of the square around the face.
    """

    target: Target
    renderer_name: str
    renderer: Renderer
    paster: Paster
    rest_crop: Image
    shape: str
    square_only: bool
    backdrop: Backdrop | None = None
    square: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.square = shown_square(self.target)

    def open_backdrop(self, output: OutputSettings) -> None:
        """Prepare `output.background`; any thread may call.

        The target's outline is found once, which takes a second.

        Raises:
            ReenactError: no person is found in the target's picture, or the background is a
                picture that is missing or cannot be read.
        """
        backdrop = self.backdrop or self._new_backdrop()
        backdrop.open(output.background)
        self.backdrop = backdrop

    def _new_backdrop(self) -> Backdrop:
        from reenact.live.backdrop import Backdrop
        from reenact.rendering.matting import Matte

        shown = self._shown(self.rest_crop)
        if self.square_only:
            alpha = None if self.target.alphas is None else self.target.alphas[0]
            matte = Matte(self.target, self.rest_crop, (0, 0, self.target.crop_size), alpha)
            return Backdrop(shown, self._square(matte.crop), matte.crop, matte.on_white)
        rows, columns = inside = self.paster.inside
        left, top, side = self.paster.square
        square = left - columns.start, top - rows.start, side
        own = self.paster.plate_alpha
        matte = Matte(self.target, shown[inside], square, None if own is None else own[inside])
        rest = np.zeros(shown.shape[:2], np.uint8)
        rest[inside] = matte.whole
        return Backdrop(shown, self.paster.faded(rest), matte.crop, matte.on_white)

    def _shown(self, crop: Image) -> Image:
        """Return a crop in the plate, or only the square around the face."""
        return self._square(crop) if self.square_only else self.paster.paste(crop)

    def _square(self, crop: Image) -> Image:
        """Return a copy of the square around the face."""
        left, top, side = self.square
        return crop[top : top + side, left : left + side].copy()

    def _alpha(self, backdrop: Backdrop, drive: Drive | None) -> Alpha:
        """Return the person's alpha in a picture, uint8 (H, W)."""
        if drive is None or not isinstance(self.renderer, CutsOut):
            return backdrop.rest
        alpha = self.renderer.cut_out(backdrop.crop)
        if self.square_only:
            return self._square(alpha)
        return self.paster.paste_alpha(alpha, backdrop.rest)

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
        picture = self._shown(crop)
        alpha = None
        if self.backdrop is not None and output.background != "keep":
            cut_out = self._alpha(self.backdrop, drive)
            picture, alpha = self.backdrop.lay(picture, cut_out, output)
        if output.label.strip():
            alpha = None if alpha is None else alpha.copy()
            write_label(picture, alpha, output.label.strip())
        if output.show_raw_camera:
            picture, alpha = self._beside_actor(picture, alpha, actor)
        return picture, alpha

    def _beside_actor(
        self, picture: Image, alpha: Image | None, actor: Frame | None
    ) -> tuple[Image, Image | None]:
        """Return the picture and its alpha with the actor at the left; in a tall shape, above."""
        height, width = picture.shape[:2]
        size = (height if self.shape == "picture" else width, height)
        nobody = np.zeros((1, 1, 3), np.uint8)
        panel = letterbox(nobody if actor is None else actor.image, size)
        join = cv2.vconcat if self.shape == "9:16" else cv2.hconcat
        if alpha is not None:
            alpha = np.asarray(join([np.full(panel.shape[:2], 255, np.uint8), alpha]), np.uint8)
        return np.asarray(join([panel, picture]), np.uint8), alpha


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
    prepared = PreparedTarget(
        target,
        renderer_name,
        renderer,
        Paster(target, view_of(target, output, target.usual_size)),
        rest_crop,
        output.shape,
        is_square_only(output),
    )
    if output.background != "keep":
        prepared.open_backdrop(output)
    return prepared
