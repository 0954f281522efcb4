"""Reduces the load when the machine cannot keep up with a camera.

The session's slots drop frames before the delay grows. If that continues, `LoadControl` lowers the
size at which the target is drawn, and raises it again later. `SteppedRenderer` draws at that size
and scales the result, so that outputs and recordings see no change of size.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact import registry
from reenact.config import OutputSettings, RendererSettings
from reenact.errors import PluginError, ReenactError
from reenact.face.geometry import square_to_crop, transform_points
from reenact.imaging import is_picture, resized_square
from reenact.live.stillness import Stillness
from reenact.models.warp_unet_inputs import NETWORK_PX
from reenact.rendering.compositing import shown_side
from reenact.targets.builder import resize_target
from reenact.targets.framing import is_square_only, view_of
from reenact.targets.surroundings import with_surroundings
from reenact.types import CutsOut, Drive, Image, Renderer, Target

log = logging.getLogger(__name__)

SIZES_PX: Final = (1024, 720, 512, 256)
"""The sizes. Smaller ones would save nothing, because the networks work at 256 px in any case."""

_SIZE_STEP_PX: Final = 32
"""Crop sides are multiples of this, so that the repair box ends on whole pixels."""

_WINDOW_S: Final = 4.0
_MAX_DROPPED: Final = 0.1
"""Share of a window's frames that must be lost for the machine to count as too slow."""

_BUSY: Final = 0.9
"""Share of a window that the work must take to be the cause of the lost frames."""

_ROOM: Final = 0.75
"""A larger size is tried if it is expected to take at most this share of the time."""

_HOLD_S: Final = 20.0
_MAX_HOLD_S: Final = 640.0
"""Minimum time at a size before a larger one is tried; it doubles after each failed attempt."""


def needed_px(target: Target, asked_px: int, output: OutputSettings) -> int:
    """Return the side at which crops are drawn: as requested, but hardly larger than displayed."""
    if is_square_only(output):
        return asked_px
    shown_px = shown_side(target, view_of(target, output, asked_px))
    return min(asked_px, max(_SIZE_STEP_PX * math.ceil(shown_px / _SIZE_STEP_PX), NETWORK_PX))


def drawn_target(target: Target, renderer: str, size_px: int) -> Target:
    """Return the target as this renderer draws it: resized, with its surroundings if it moves them.

    Its own weights are kept only if they belong to this renderer.
    """
    if registry.renderer_of(target) != renderer:
        target = replace(target, weights=None)
    target = resize_target(target, size_px)
    moves = registry.load("renderers", renderer).beyond_crop
    return with_surroundings(target) if moves else target


class LoadControl:
    """Decides at which size the target is drawn. It has no clock: the caller supplies the time.

    Args:
        size_px: the size that the user requested; it is never exceeded.

    Attributes:
        asked_px: the requested size.
        size_px: the size to draw at.
    """

    def __init__(self, size_px: int) -> None:
        self.asked_px = self.size_px = size_px
        self._sizes = [size_px, *(size for size in SIZES_PX if size < size_px)]
        self._growth: dict[int, float] = {}  # cost of the next larger size relative to this one
        self._cost_above_s: float | None = None
        self._hold_s = _HOLD_S
        self._changed_s, self._raised_s = -math.inf, -math.inf
        self._begin(None, 0)

    def frame(self, now_s: float, work_s: float, dropped: int) -> int:
        """Count a frame and return the size for the next one.

        Args:
            now_s: monotonic time at which its work ended.
            work_s: duration of the work.
            dropped: number of frames lost so far because the work was busy.
        """
        if self._start_s is None:
            self._begin(now_s, dropped)
            return self.size_px
        self._frames += 1
        self._work_s += work_s
        elapsed_s = now_s - self._start_s
        if elapsed_s >= _WINDOW_S:
            self._decide(now_s, elapsed_s, dropped - self._dropped_before)
            self._begin(now_s, dropped)
        return self.size_px

    def _begin(self, now_s: float | None, dropped: int) -> None:
        self._start_s, self._dropped_before = now_s, dropped
        self._frames, self._work_s = 0, 0.0

    def _decide(self, now_s: float, elapsed_s: float, dropped: int) -> None:
        place, cost_s = self._sizes.index(self.size_px), self._work_s / self._frames
        if self._cost_above_s is not None:
            self._growth[self.size_px] = max(self._cost_above_s / cost_s, 1.0)
            self._cost_above_s = None
        lost = dropped > _MAX_DROPPED * (self._frames + dropped)
        if lost and self._work_s > _BUSY * elapsed_s:
            if place + 1 < len(self._sizes):
                if now_s - self._raised_s < 2 * _HOLD_S:
                    self._hold_s = min(2 * self._hold_s, _MAX_HOLD_S)
                self._cost_above_s = cost_s
                self._go_to(place + 1, now_s)
        elif place and not dropped and now_s - self._changed_s > self._hold_s:
            larger_s = cost_s * self._growth.get(self.size_px, 1.0)
            if larger_s < _ROOM * elapsed_s / self._frames:
                self._raised_s = now_s
                self._go_to(place - 1, now_s)

    def _go_to(self, place: int, now_s: float) -> None:
        self.size_px, self._changed_s = self._sizes[place], now_s


class SteppedRenderer:
    """A renderer that can draw smaller than its output; satisfies `types.Renderer`.

    If the target keeps still, it returns the last picture again. One thread calls it.

    Args:
        make: builds a renderer for crops of a size, px.
        size_px: side of the output pictures.

    Attributes:
        device: device of the renderer.
        frames_still: number of pictures that were returned again.
    """

    def __init__(self, make: Callable[[int], Renderer], size_px: int) -> None:
        self._make = make
        self._size_px = self._drawn_px = size_px
        self._whole = self._using = make(size_px)
        self._renderers: dict[int, Renderer | None] = {size_px: self._whole}
        self.device = self._whole.device
        self._stillness = Stillness(size_px)
        self.frames_still = 0

    def prepare(self, target: Target) -> None:
        """Prepare the full size; smaller sizes are prepared when they are needed."""
        self._target = target
        self._whole.prepare(target)
        self._renderers = {self._size_px: self._whole}
        self._using, self._drawn_px = self._whole, self._size_px
        self._stillness.reset()

    def draw_at(self, size_px: int) -> bool:
        """Draw at this size once another thread has prepared it; return whether it is drawn at.

        In place of a size that cannot be prepared, the full size is drawn.
        """
        size_px = min(size_px, self._size_px)
        if size_px == self._drawn_px:
            return True
        if size_px not in self._renderers:
            self._renderers[size_px] = None
            work = size_px, self._target, self._renderers
            threading.Thread(target=self._prepare, args=work, daemon=True).start()
        ready = self._renderers[size_px]
        if ready is None:
            return False
        ready.reset()
        self._stillness.reset()
        self._using, self._drawn_px = ready, size_px
        return True

    def render(self, drive: Drive) -> Image:
        """Return uint8 (S, S, 3) RGB at full size; the caller must not write into it."""
        if self._stillness.repeats(drive):
            self.frames_still += 1
        else:
            self._picture = self._drawn(drive)
        return self._picture

    def _drawn(self, drive: Drive) -> Image:
        if self._using is not self._whole:
            to_drawn = square_to_crop((0, 0, self._size_px), self._drawn_px)
            drive = replace(drive, landmarks=transform_points(drive.landmarks, to_drawn))
        picture = self._using.render(drive)
        if not is_picture(picture):
            raise PluginError(f"{type(self._using).__name__} draws no picture: uint8 (S, S, 3).")
        return resized_square(picture, self._target.crop_size)

    def cut_out(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the person's alpha in the last picture; unmoved if the renderer has none."""
        if not isinstance(self._using, CutsOut):
            return alpha
        if self._using is self._whole:
            return self._using.cut_out(alpha)
        side_px = round(self._drawn_px * self._target.extent)
        moved = self._using.cut_out(resized_square(alpha, side_px))
        return resized_square(moved, self._target.crop_size)

    def reset(self) -> None:
        """Forget earlier frames."""
        self._using.reset()
        self._stillness.reset()

    def _prepare(self, size_px: int, target: Target, renderers: dict[int, Renderer | None]) -> None:
        """Add a renderer of a target to those of all its sizes."""
        try:
            renderer = self._make(size_px)
            renderer.prepare(resize_target(target, round(size_px * target.extent)))
        except Exception as error:  # such as an engine's; otherwise it would be waited for for ever
            told = not isinstance(error, ReenactError)
            log.warning("The target cannot be drawn at %d px: %s", size_px, error, exc_info=told)
            renderer = self._whole
        renderers[size_px] = renderer


def open_renderer(settings: RendererSettings) -> SteppedRenderer:
    """Build the renderer that the settings name.

    Raises:
        ReenactError: it is unknown or cannot be opened.
    """
    spec = registry.load("renderers", settings.name)
    return SteppedRenderer(
        lambda size: spec.make(settings.model_copy(update={"size": size})), settings.size
    )
