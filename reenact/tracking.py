"""Face landmarks by MediaPipe; the only module that imports mediapipe.

FaceMesh with refined landmarks (468 mesh points and two irises of five). Version 0.10.21 carries
its models inside the wheel; newer versions need a `face_landmarker.task` file, named in
`tracking.model`.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from reenact.config import TrackingSettings
from reenact.errors import ModelError
from reenact.facemesh import N_LANDMARKS
from reenact.geometry import face_box
from reenact.registry import Spec
from reenact.types import Array, Frame, Image, Landmarks

log = logging.getLogger(__name__)

_MAX_FACES: Final = 5
_MIN_FACE_PX: Final = 12.0
"""A mesh lower than this is noise, not a face."""


class _Detector(Protocol):
    """One of MediaPipe's two interfaces."""

    def faces(self, image: Image, time_s: float) -> list[Array]:
        """Return (478, 3) px landmarks of every face found in the RGB picture."""

    def reset(self) -> None:
        """Forget the previous frame."""

    def close(self) -> None:
        """Release the models."""


class MediaPipeTracker:
    """Finds one face and follows it.

    Not thread-safe: one thread calls it. With several faces, `settings.face` chooses:
    `largest`, `centre` (nearest to the middle of the picture) or a number from the left.
    `largest` and `centre` stay with the face followed so far unless another is clearly better,
    so that two people side by side do not take turns.

    Args:
        settings: which face and how sure.
        static: every picture is looked at on its own (photos, evaluation).

    Raises:
        ModelError: mediapipe or its model file is missing.
    """

    def __init__(self, settings: TrackingSettings, static: bool = False) -> None:
        self._settings = settings
        self._several = static or settings.face != "largest"
        self._previous: Array | None = None
        self._static = static
        self._detector = _open_detector(settings, static)
        self.faces_seen = 0
        """How many faces the last picture held."""

    def track(self, frame: Frame) -> Landmarks | None:
        """Return the chosen face's landmarks in px of the frame, None when there is none."""
        found = [
            points
            for points in self._detector.faces(frame.image, frame.time_s)
            if _plausible(points, frame.size)
        ]
        self.faces_seen = len(found)
        if not found:
            self._previous = None
            return None
        chosen = self._choose(found, frame.size)
        self._previous = None if self._static else chosen
        return Landmarks(chosen, 1.0, frame.size)

    def reset(self) -> None:
        """Forget the previous frame: a cut, a new source."""
        self._previous = None
        self._detector.reset()

    def close(self) -> None:
        """Release the models; a second call does nothing."""
        self._detector.close()

    def _choose(self, found: list[Array], size: tuple[int, int]) -> Array:
        if len(found) == 1:
            return found[0]
        rule = self._settings.face
        if rule.isdigit():
            in_order = sorted(found, key=lambda points: float(points[:, 0].mean()))
            return in_order[min(int(rule), len(in_order) - 1)]
        middle = np.array(size, np.float32) / 2

        def rank(points: Array) -> float:
            left, top, right, bottom = face_box(points)
            if rule == "largest":
                value = (right - left) * (bottom - top)
            else:
                centre = np.array([(left + right) / 2, (top + bottom) / 2])
                value = 1 / (1 + float(np.linalg.norm(centre - middle)))
            followed = self._previous is not None and _same_face(points, self._previous)
            return value * (1.5 if followed else 1.0)

        return max(found, key=rank)


def _plausible(points: Array, size: tuple[int, int]) -> bool:
    """Tell a face from MediaPipe's answers on textures: finite, large enough, in the picture."""
    if not np.isfinite(points).all():
        return False
    left, top, right, bottom = face_box(points)
    if bottom - top < _MIN_FACE_PX or right - left < _MIN_FACE_PX / 3:
        return False
    return left < size[0] and right > 0 and top < size[1] and bottom > 0


def _same_face(points: Array, previous: Array) -> bool:
    left, top, right, bottom = face_box(previous)
    reach = max(right - left, bottom - top) / 2
    return float(np.linalg.norm(points[:, :2].mean(0) - previous[:, :2].mean(0))) < reach


def _open_detector(settings: TrackingSettings, static: bool) -> _Detector:
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import mediapipe
    except ImportError as error:
        raise ModelError(
            f"The face tracker needs mediapipe ({error}); run: pip install mediapipe==0.10.21."
        ) from error
    if settings.model:
        return _TaskDetector(mediapipe, settings, static)
    if not hasattr(mediapipe, "solutions"):
        raise ModelError(
            f"mediapipe {mediapipe.__version__} carries no face models; install mediapipe==0.10.21 "
            "or set tracking.model to the path of a face_landmarker.task file."
        )
    return _MeshDetector(mediapipe, settings, static)


class _MeshDetector:
    """`mp.solutions.face_mesh`, models inside the wheel."""

    def __init__(self, mediapipe: Any, settings: TrackingSettings, static: bool) -> None:
        faces = _MAX_FACES if static or settings.face != "largest" else 2
        self._mesh: Any = mediapipe.solutions.face_mesh.FaceMesh(
            static_image_mode=static,
            max_num_faces=faces,
            refine_landmarks=True,
            min_detection_confidence=settings.min_confidence,
            min_tracking_confidence=settings.min_confidence,
        )

    def faces(self, image: Image, time_s: float) -> list[Array]:
        del time_s
        height, width = image.shape[:2]
        answer = self._mesh.process(image).multi_face_landmarks or []
        scale = np.array([width, height, width], np.float32)
        return [
            np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32) * scale
            for face in answer
        ]

    def reset(self) -> None:
        self._mesh.reset()

    def close(self) -> None:
        if self._mesh is not None:
            self._mesh.close()
            self._mesh = None


class _TaskDetector:
    """FaceLandmarker of mediapipe's tasks interface, with a model file of the user's."""

    def __init__(self, mediapipe: Any, settings: TrackingSettings, static: bool) -> None:
        if not Path(settings.model).is_file():
            raise ModelError(f"tracking.model names no file: {settings.model}.")
        vision = mediapipe.tasks.vision
        mode = vision.RunningMode.IMAGE if static else vision.RunningMode.VIDEO
        options = vision.FaceLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=settings.model),
            running_mode=mode,
            num_faces=_MAX_FACES,
            min_face_detection_confidence=settings.min_confidence,
            min_tracking_confidence=settings.min_confidence,
        )
        try:
            self._landmarker: Any = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{settings.model} is not a face_landmarker.task: {error}") from error
        self._mediapipe = mediapipe
        self._static = static
        self._last_ms = -1

    def faces(self, image: Image, time_s: float) -> list[Array]:
        picture = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image)
        )
        if self._static:
            answer = self._landmarker.detect(picture)
        else:
            self._last_ms = max(self._last_ms + 1, int(time_s * 1000))
            answer = self._landmarker.detect_for_video(picture, self._last_ms)
        height, width = image.shape[:2]
        scale = np.array([width, height, width], np.float32)
        return [
            np.array([(p.x, p.y, p.z) for p in face[:N_LANDMARKS]], np.float32) * scale
            for face in answer.face_landmarks
        ]

    def reset(self) -> None:
        """Nothing to forget: timestamps go on, and a lost face is searched for anew."""

    def close(self) -> None:
        if self._landmarker is not None:
            self._landmarker.close()
            self._landmarker = None


MEDIAPIPE = Spec(
    name="mediapipe",
    summary="MediaPipe FaceMesh with irises, 478 landmarks",
    build=MediaPipeTracker,
)
