"""Face landmarks by MediaPipe's FaceMesh: 468 of the skin and five of each iris.

The wheel of mediapipe 0.10.21 contains the models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Final

import numpy as np

from reenact.config import TrackingSettings
from reenact.face.dim_light import brightened
from reenact.face.geometry import MAX_SHIFT, box_shift, choose_face, face_box
from reenact.face.mediapipe_graphs import open_graph, restart_graph, solutions
from reenact.face.topology import N_LANDMARKS, OUTER_EYE_CORNERS
from reenact.lifecycle import quiet_native_libraries
from reenact.registry import TrackerSpec
from reenact.types import Array, Frame, Image, Landmarks

_MAX_FACES: Final = 5
"""MediaPipe looks for no more faces while it follows this many. It looks if it follows one."""

_ALONE, _SEARCH = 20, 6
"""Number of pictures after which a face counts as the only one, and from one search for others to
the next: a fifth of a second at 30 pictures a second."""

_SETTLING: Final = 10
"""Number of pictures for which both graphs run, until the landmarks of a new face have settled."""

_CLOSER: Final = ((0.5, 0.4), (0.25, 0.4), (0.75, 0.4), (0.5, 0.75))
"""Centres, as shares of the picture, of the windows of half its size in which every second frame
searches for a lost face. The frames between search the whole picture, in which MediaPipe finds no
face narrower than about a ninth of it."""

_NEARER: Final = 1.5
"""A face that is so many times wider than the one in the window ends the search in windows."""

_LARGE: Final = 0.7
"""A face higher than this share of the window is followed in the whole picture again."""

PASSES: Final = 4
"""Number of times that the first picture of a face is tracked, so that its landmarks settle: they
depend on where MediaPipe cuts the face out, which is by the detected face at first, and then by the
landmarks that it found before. The two kinds differ by .6 px of 256, all of it systematic; after
the fourth time .07 px remain."""

_COVERED_S: Final = 3.0
"""For so long after the followed face was lost, a face that was seen beside it is not followed."""

_BESIDE_S: Final = 0.5
"""A face was beside the followed one if it was seen so shortly before that one was seen last."""

_UNCOVERED: Final = 5.0
"""What is near to a face that was beside a covered one, and counts as the covered one again, must
be so many times nearer to that one: whoever covers it passes its place."""

_PATIENCE_S: Final = 1.5
"""Time for which another face must be clearly better than the followed one before it is followed:
somebody who passes before the actor is larger, and gone."""

_MARGIN: Final = 0.3

_MIN_FACE_PX: Final = 12.0
"""A smaller mesh is noise, not a face."""


class MediaPipeTracker:
    """Finds one face and follows it. One thread calls it.

    If there are several faces, `settings.face` chooses: `largest`, `centre` (nearest to the centre
    of the picture) or a number from the left. `largest` and `centre` stay with the followed face
    unless another is clearly better, so that two people side by side do not alternate. A face too
    small for MediaPipe in the whole picture is searched for and followed in a window of half its
    size.

    Args:
        settings: which face, and the confidence that it needs.
        static: if True, for single pictures: every picture is searched as a whole, and `reset`
            makes the next one independent of it. Tracked again without `reset`, a picture gives
            landmarks like those of a face that is followed (see `face_search.refine_face`).

    Attributes:
        faces_seen: the number of faces in the last picture. A second face that joins one is noticed
            after a fifth of a second.
        faces: (478, 3) landmarks of each of them, px.

    Raises:
        ModelError: mediapipe is missing, or has no models.
    """

    def __init__(self, settings: TrackingSettings, static: bool = False) -> None:
        self._settings = settings
        self._previous: Array | None = None
        self._static = static
        self._centre: tuple[float, float] | None = None
        self._misses = 0
        self._followed: tuple[Array, float] | None = None
        self._others: list[tuple[Array, float]] = []
        self._better_since_s: float | None = None
        self._followed_since_s = 0.0
        self._detector = _Detector(solutions(), settings, static)
        self.faces_seen = 0
        self.faces: Sequence[Array] = ()

    def track(self, frame: Frame) -> Landmarks | None:
        """Return the landmarks of the chosen face in px of the frame; None if there is no face."""
        left, top, width, height = _window(self._centre, frame.size)
        view = np.ascontiguousarray(frame.image[top : top + height, left : left + width])
        corner = np.array([left, top, 0], np.float32)
        # MediaPipe warns at its first face that the picture is not square.
        with quiet_native_libraries() if self._previous is None else nullcontext():
            if self._previous is not None:
                view = brightened(view, self._previous - corner)
            faces = self._detector.faces(view)
            if self._previous is None and not self._static:
                for _ in range(PASSES - 1):
                    faces = faces and self._detector.faces(brightened(view, faces[0]))
        found = [
            points + corner
            for points in faces
            if _plausible(points, (width, height)) and (self._centre is None or _upright(points))
        ]
        self.faces, self.faces_seen = found, len(found)
        if not found:
            self._previous = None
            self._search()
            return None
        if self._centre is not None and self._misses:
            # An enlarged texture may look like a face in one frame, but not in two.
            self._misses = 0
            return None
        chosen = self._choose(found, frame)
        if chosen is None:
            self._previous = None
            return None
        if not self._static:
            others = [one for one in self._others if not any(one[0] is face for face in found)]
            self._others = others + [(one, frame.time_s) for one in found if one is not chosen]
            # Whoever passes before a face takes its mesh along. So it stays where it was clear.
            clear = all(box_shift(chosen, other) >= MAX_SHIFT for other, _ in self._others)
            place = chosen if clear or self._followed is None else self._followed[0]
            self._followed = place, frame.time_s
            self._previous = chosen
            self._misses = 0
            self._keep_in_window(chosen, frame)
        return Landmarks(chosen, 1.0, frame.size)

    def reset(self) -> None:
        """Forget the previous frame, for instance after a cut."""
        self._previous = None
        self._followed = self._better_since_s = None
        self._others = []
        self._misses = 0
        self._set_window(None)
        self._detector.reset()

    def close(self) -> None:
        """Release the models. May be called twice."""
        self._detector.close()

    def _choose(self, found: list[Array], frame: Frame) -> Array | None:
        """Choose the face to follow; None while the followed one may only be covered."""
        rule, time_s, since_s = self._settings.face, frame.time_s, self._better_since_s
        self._better_since_s = None
        if self._followed is None:
            self._followed_since_s = time_s
            return choose_face(found, frame.size, rule)
        own, others = self._known(found)
        if own is not None:
            best = choose_face(found, frame.size, rule, own)
            if best is own:
                return own
            self._better_since_s = time_s if since_s is None else since_s
            if time_s - self._better_since_s < _PATIENCE_S and not rule.isdigit():
                return own
        else:
            # Who was followed for a moment only may have been taken for the actor.
            wait_s = min(self._followed[1] - self._followed_since_s, _COVERED_S)
            if time_s - self._followed[1] > wait_s:
                self._others, others = [], []
            free = [points for points in found if not any(points is one for one in others)]
            if not free:
                return None
            best = choose_face(free, frame.size, rule)
        self._followed, self._followed_since_s = None, time_s
        return best

    def _known(self, found: list[Array]) -> tuple[Array | None, list[Array]]:
        """Return which of the faces is the followed one, if any, and which were seen beside it.

        A face is the one to whose last place it is nearest. Otherwise somebody who passes before
        the actor would be taken for the actor, and then the actor for somebody seen beside.
        """
        assert self._followed is not None
        own, own_s = self._followed
        self._others = [one for one in self._others if one[1] >= own_s - _BESIDE_S]
        known = [own, *(points for points, _ in self._others)]
        shifts = np.array([[box_shift(before, points) for before in known] for points in found])
        is_near = shifts[:, 0] < MAX_SHIFT
        if self._previous is None:
            shifts[(shifts[:, 1:] < MAX_SHIFT).any(axis=1), 0] *= _UNCOVERED
        nearest = shifts.argmin(axis=1)
        again: list[Array | None] = [None] * len(known)
        for number in range(len(known)):
            candidates = np.flatnonzero(nearest == number)
            if len(candidates):
                best = candidates[shifts[candidates, number].argmin()]
                again[number] = found[best] if number or is_near[best] else None
        mine, *others = again
        pairs = zip(others, self._others, strict=True)
        self._others = [(last if new is None else new, time_s) for new, (last, time_s) in pairs]
        return mine, [points for points in others if points is not None]

    def _set_window(self, centre: tuple[float, float] | None) -> None:
        """Use the half-sized window around a relative centre, or the whole picture for None."""
        if centre != self._centre:
            self._centre = centre
            self._detector.reset()

    def _search(self) -> None:
        """Choose the window of the next frame after a miss."""
        if self._static:
            return
        self._misses += 1
        if self._misses > 1:
            closer = _CLOSER[self._misses // 2 % len(_CLOSER)]
            self._set_window(closer if self._misses % 2 else None)

    def _keep_in_window(self, points: Array, frame: Frame) -> None:
        """Move the window with the face, or leave it if the face fills much of it, or is not alone.

        A picture on the wall is found in the window while the actor is away.
        """
        if self._centre is None:
            return
        size = frame.size
        left, top, width, height = _window(self._centre, size)
        x0, y0, x1, y1 = face_box(points)
        middle = (x0 + x1) / 2 / size[0], (y0 + y1) / 2 / size[1]
        nearer = self._detector.widest_px(frame.image, middle) > _NEARER * (x1 - x0)
        if nearer or y1 - y0 > _LARGE * height:
            self._set_window(None)
        elif not (
            left + _MARGIN * width < (x0 + x1) / 2 < left + (1 - _MARGIN) * width
            and top + _MARGIN * height < (y0 + y1) / 2 < top + (1 - _MARGIN) * height
        ) and _window(middle, size) != (left, top, width, height):
            self._set_window(middle)


def _window(centre: tuple[float, float] | None, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) px of the window around a centre; None for the picture."""
    if centre is None:
        return 0, 0, *size
    width, height = (max(side // 2, 1) for side in size)
    left = min(max(round(centre[0] * size[0]) - width // 2, 0), size[0] - width)
    top = min(max(round(centre[1] * size[1]) - height // 2, 0), size[1] - height)
    return left, top, width, height


def _plausible(points: Array, size: tuple[int, int]) -> bool:
    """Return False for what MediaPipe finds in textures: not finite, tiny, or outside."""
    if not np.isfinite(points).all():
        return False
    left, top, right, bottom = face_box(points)
    if bottom - top < _MIN_FACE_PX or right - left < _MIN_FACE_PX / 3:
        return False
    return left < size[0] and right > 0 and top < size[1] and bottom > 0


def _upright(points: Array) -> bool:
    """Return True if the line between the eyes is tilted by less than 45 degrees."""
    right, left = points[list(OUTER_EYE_CORNERS), :2]
    across, down = left - right
    return bool(abs(down) < across)


class _Mesh:
    """A graph that finds face meshes, and searches first where they were in its last picture."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._graph = open_graph(build)
        self._follows = False

    def faces(self, image: Image) -> list[Any]:
        """Return MediaPipe's landmark lists, one a face."""
        found = list(self._graph.process(image).multi_face_landmarks or [])
        self._follows = self._follows or bool(found)
        return found

    def forget(self) -> None:
        """Search the whole next picture. If a face was followed, this takes a picture's time."""
        if not self._follows:
            return
        self._follows = False
        try:
            restart_graph(self._graph)
        except RuntimeError:
            # If a display has become available since the graph was built, the graph gets a GPU and
            # cannot start again (mediapipe 0.10.21).
            self._graph.close()
            self._graph = open_graph(self._build)

    def close(self) -> None:
        self._graph.close()


class _Search:
    """A search for faces beside the tracking; its result is read at a later picture."""

    def __init__(self, detection: Any, thread: ThreadPoolExecutor) -> None:
        self._detection = detection
        self._thread = thread
        self._begun: Future[Any] | None = None

    def begin(self, image: Image) -> None:
        """Start a search."""
        self._begun = self._thread.submit(self._detection.process, image)

    def found(self) -> Sequence[Any]:
        """Return MediaPipe's detections in the picture of `begin`, once; none if there was none."""
        begun, self._begun = self._begun, None
        return [] if begun is None else begun.result().detections or []


class _Detector:
    """Finds all faces by `mediapipe.solutions.face_mesh`, whose models are in the wheel.

    It searches for further faces in every picture, which takes a third of its time. So a face that
    was alone for `_ALONE` pictures is followed without that, and a separate search in every
    `_SEARCH`th picture notices a second face. The search runs in parallel and its result is read at
    the next picture, so that it delays none. The landmarks differ by less than their noise.
    """

    def __init__(self, solutions: Any, settings: TrackingSettings, static: bool) -> None:
        def mesh(faces: int) -> _Mesh:
            return _Mesh(
                lambda: solutions.face_mesh.FaceMesh(
                    max_num_faces=faces,
                    refine_landmarks=True,
                    min_detection_confidence=settings.min_confidence,
                    min_tracking_confidence=settings.min_confidence,
                )
            )

        self._all = mesh(_MAX_FACES)
        self._graphs: list[Any] = [self._all]
        self._static = static
        if not static:
            self._one = mesh(1)
            search = open_graph(
                lambda: solutions.face_detection.FaceDetection(settings.min_confidence)
            )
            self._graphs += [self._one, search]
            self._beside = ThreadPoolExecutor(1)
            self._others, self._whole = (_Search(search, self._beside) for _ in range(2))
        self._windows = 0
        self._pictures_alone = 0

    def faces(self, image: Image) -> list[Array]:
        """Return the landmarks, (478, 3) px, of every face in the RGB picture."""
        joined, found = not self._static and self._is_joined(image), []
        if self._pictures_alone >= _ALONE - _SETTLING and not joined:
            found = self._one.faces(image)
        by_one = bool(found)
        if not found or self._pictures_alone < _ALONE:
            if self._pictures_alone >= _ALONE:
                self._all.forget()  # the face has moved since it was last used
            found = self._all.faces(image)
        is_alone = len(found) == 1 and not self._static and not joined
        # What the whole picture no longer shows to the one graph, the other may still follow.
        alone = self._pictures_alone + 1 if is_alone else 0
        self._pictures_alone = alone if by_one else min(alone, _ALONE - 1)
        return [_in_px(face, image) for face in found]

    def widest_px(self, image: Image, apart_from: tuple[float, float]) -> float:
        """Return the width of the widest other face in the last whole picture searched; 0: none.

        One of `_SEARCH` pictures is searched. The detector is not for single pictures.

        Args:
            image: the whole picture.
            apart_from: the middle of the followed face, as shares of the picture. Its own box is up
                to 1.7 times as wide as its mesh if it is small.
        """
        x, y = apart_from
        boxes = [one.location_data.relative_bounding_box for one in self._whole.found()]
        widths = [
            box.width
            for box in boxes
            if not (0 < x - box.xmin < box.width and 0 < y - box.ymin < box.height)
        ]
        self._windows += 1
        if self._windows % _SEARCH == 0:
            self._whole.begin(image)
        return image.shape[1] * max(widths, default=0.0)

    def reset(self) -> None:
        """Forget the previous frame."""
        self._pictures_alone = 0
        self._all.forget()
        if not self._static:
            self._one.forget()
            for search in (self._others, self._whole):
                search.found()

    def close(self) -> None:
        """Release the models. May be called twice."""
        if not self._static:
            self._beside.shutdown()
        for graph in self._graphs:
            graph.close()
        self._graphs = []

    def _is_joined(self, image: Image) -> bool:
        """Return whether the last search found several faces; start the next if it is due."""
        found = self._others.found()
        if self._pictures_alone >= _ALONE and self._pictures_alone % _SEARCH == 0:
            self._others.begin(image)
        return len(found) > 1


def _in_px(face: Any, image: Image) -> Array:
    """Convert MediaPipe's landmark list, fractions of the picture, to (478, 3) px.

    It is read from the message's bytes, because 1,434 attributes would take a millisecond. A point
    has two bytes of its own, and each number four after its tag.
    """
    height, width = image.shape[:2]
    points = np.frombuffer(face.SerializeToString(), np.uint8).reshape(len(face.landmark), -1)
    shares = points[:N_LANDMARKS, 2:17].reshape(-1, 3, 5)[..., 1:].copy().view("<f4")[..., 0]
    return np.asarray(shares * np.array([width, height, width], np.float32), np.float32)


MEDIAPIPE: Final = TrackerSpec(
    name="mediapipe",
    summary="MediaPipe FaceMesh with irises, 478 landmarks",
    build=lambda common, own: MediaPipeTracker(common),
)
