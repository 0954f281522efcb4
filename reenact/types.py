"""The values that travel through the program and the protocols of its exchangeable parts.

Pictures are uint8 (H, W, 3) RGB, C-contiguous, everywhere between a source and a sink.
Coordinates are image pixels, x right, y down; z is on the same scale, negative towards the
camera. Times are seconds on a monotonic clock. Errors are those of `reenact.errors`; None
means an ordinary absence (no face, source ended), never a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), RGB, C-contiguous."""

Array = NDArray[np.float32]
"""float32 array; the shape is in the doc of each use."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """478 face landmarks in the order of MediaPipe FaceMesh with irises.

    Attributes:
        points: float32 (478, 3) in px of the image they were found in; z on the same scale.
        confidence: 0 to 1.
        size: (width, height) px of that image.
    """

    points: Array
    confidence: float
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pose:
    """The rigid head motion: `image = scale * rotation @ face + translation`.

    Attributes:
        rotation: float32 (3, 3), proper rotation from the face frame to the image.
        translation: float32 (3,) px, where the face frame's origin lies.
        scale: px per inter-ocular distance (iod).
    """

    rotation: Array
    translation: Array
    scale: float


@dataclass(frozen=True, slots=True)
class Expression:
    """What the actor's face does, cleared of who the actor is.

    Attributes:
        deviation: float32 (478, 3) in iod, face frame, minus the actor's neutral.
        pose: the actor's head pose.
        action_units: float32 (17,) in 0 to 1, in the order of `topology.ACTION_UNITS`.
    """

    deviation: Array
    pose: Pose
    action_units: Array


EVENTS: Final = ("reset", "set_neutral", "undo_neutral")
"""What the user and the session ask of the program that follows an actor, in this order."""


class PartMotion(NamedTuple):
    """How a part of an actor's body has moved.

    Attributes:
        motion: float32 (4,), across and down, iod; roll, radians; and the logarithm of its growth.
        since: tells from which picture it is counted; another number is another picture.
    """

    motion: Array
    since: int


class SeenBody(NamedTuple):
    """What is seen of an actor's body beside the face.

    Attributes:
        torso: None: not seen.
        hair: hair, ears or hat; None: not seen.
    """

    torso: PartMotion | None = None
    hair: PartMotion | None = None


@dataclass(frozen=True, slots=True)
class PerformanceFrame:
    """One frame of a performance: what was seen of the actor, and what the target was given.

    A source that knows the landmarks hands them over in it, and what a file kept of an earlier
    run; a sink finds all of it in the picture's frame.

    Attributes:
        landmarks: of the actor, as tracked; None: no face.
        time_s: of the actor's frame.
        events: (3,) which of `EVENTS` happened since the frame before.
        stored: (478, 3) the neutral that the run began with, face frame, iod; None: none.
        fused: (478, 3) px of the target's crop; None: no face, or not fused yet.
        expression: of the actor, with it.
        trust: (6,) 0 to 1, how far each of `regions.PARTS` was believed.
        limited: (12,) which of `limits.LIMITED` and, last, the whole were limited.
        body: of the actor.
    """

    landmarks: Landmarks | None
    time_s: float = 0.0
    events: tuple[bool, ...] = (False,) * len(EVENTS)
    stored: Array | None = None
    fused: Array | None = None
    expression: Expression | None = None
    trust: Array | None = None
    limited: NDArray[np.bool_] | None = None
    body: SeenBody = field(default_factory=SeenBody)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream.

    Attributes:
        image: uint8 (H, W, 3) RGB, contiguous.
        time_s: for a live source the monotonic time of capture, and in a sink that of writing; for
            a file its presentation time from the file's start.
        index: running number from the source, from 0.
        alpha: uint8 (H, W) coverage of the target, 255 opaque; None where all of it is.
        performance: what is known of the actor without looking at the picture; None: nothing.
        captured_s: in a sink, `time_s` as it was before, if the source is live; else None.
    """

    image: Image
    time_s: float
    index: int
    alpha: NDArray[np.uint8] | None = None
    performance: PerformanceFrame | None = None
    captured_s: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in px."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True)
class MovedPart:
    """Where a part of the target's body is.

    Attributes:
        motion: float32 (2, 3), a similarity in shares of the crop's side: x right, y down, 0 and 1
            at the edges.
        share: 0 the part follows the head alone, 1 it follows `motion`.
    """

    motion: Array
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Body:
    """Where the target's body is; a part that is None follows the head alone.

    Attributes:
        torso: its motion leads from the torso at rest to where it is now.
        hair: its motion leads from where the head takes the hair to where it is now.
    """

    torso: MovedPart | None = None
    hair: MovedPart | None = None


@dataclass(frozen=True, slots=True)
class Drive:
    """All that a renderer may want to draw one frame.

    Attributes:
        landmarks: float32 (478, 3), px of the target's crop; the intensity is in them.
        expression: what the target does, before the intensity: the actor's expression and what a
            key or a file adds to it. Without an actor it is what the idle target does.
        emotion: float32 (8,) weights of sum 1, in the order of `emotions.EMOTIONS`.
        intensity: 0 neutral, 1 as acted, up to 2.
        time_s: time of the frame.
        dt_s: seconds since the previous frame; 0 for the first.
        body: what is known of torso and hair.
    """

    landmarks: Array
    expression: Expression
    emotion: Array = field(default_factory=lambda: np.eye(8, dtype=np.float32)[0])
    intensity: float = 1.0
    time_s: float = 0.0
    dt_s: float = 0.0
    body: Body = field(default_factory=Body)


@dataclass(frozen=True, slots=True)
class Target:
    """The face that is shown.

    Attributes:
        name: what the user calls it.
        references: uint8 (K, S, S, 3) RGB crops, K from 1 to 8; the first is the calmest.
        landmarks: float32 (K, 478, 3), px of the crop.
        neutral: float32 (478, 3), the target's neutral landmarks, px of the crop; it has the
            pose of the first reference.
        plate: uint8 (H, W, 3) RGB, the whole picture that the moving face is pasted into.
        crop_to_plate: float32 (2, 3) affine, crop px to plate px (uniform scale and shift).
        renderer: name of the renderer that was measured to draw it best, or that `weights` are
            for; "auto": none was chosen.
        weights: path of its own weights; None: the shipped ones.
        metadata: free text fields (made when, from what, consent).
        extent: side of the crop in sides of the usual one, of which the face's height is
            `geometry.FACE_SHARE`.
    """

    name: str
    references: NDArray[np.uint8]
    landmarks: Array
    neutral: Array
    plate: Image
    crop_to_plate: Array
    renderer: str = "auto"
    weights: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    extent: float = 1.0

    @property
    def crop_size(self) -> int:
        """Side S of the square crop in px."""
        return int(self.references.shape[1])

    @property
    def usual_size(self) -> int:
        """Side of the usual crop at the same scale in px."""
        return round(self.crop_size / self.extent)


class Device(Protocol):
    """Something that is opened and closed; every source and sink is a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def close(self) -> None:
        """Release everything. May be called twice, and from another thread."""


@runtime_checkable
class Source(Device, Protocol):
    """Where frames come from. `read` is called by one thread only."""

    live: bool
    """True: frames arrive by themselves and late ones are dropped. False: every frame counts."""

    name: str
    """What a person would call it: the camera's name, the file's name."""

    size: tuple[int, int]
    """(width, height) px of the frames, known once open."""

    fps: float
    """Frames a second: measured for a camera, from the stream for a file."""

    def read(self) -> Frame | None:
        """Return the next frame, or None when the source has ended.

        A live source blocks until there is a new frame. Raises SourceError when the device
        fails (unplugged, busy, frozen); the session then goes on with the target at rest and
        reads again.
        """


@runtime_checkable
class HasLength(Protocol):
    """A source that knows how many frames come in all."""

    frames_total: int | None
    """An estimate; None where it does not say."""


@runtime_checkable
class Tracker(Protocol):
    """Finds the face landmarks of one face."""

    faces_seen: int
    """How many faces the last picture held."""

    def track(self, frame: Frame) -> Landmarks | None:
        """Return the chosen face's landmarks in frame px, None when there is no face."""

    def reset(self) -> None:
        """Forget the previous frame: a cut, a new source."""

    def close(self) -> None:
        """Release the models."""


@runtime_checkable
class Renderer(Protocol):
    """Draws the target with an expression."""

    device: str
    """What it runs on, such as "cpu" or "cuda"."""

    def prepare(self, target: Target) -> None:
        """Compute once what all frames of this target share."""

    def render(self, drive: Drive) -> Image:
        """Return uint8 (S, S, 3) RGB, the target's crop with the driven expression."""

    def reset(self) -> None:
        """Forget earlier frames."""


@runtime_checkable
class MotionSource(Protocol):
    """Invents how an emotion comes over a face."""

    def motion(self, emotion: str, seed: int) -> Array:
        """Return float32 (F, 478, 3), iod: deviations at 25 frames a second.

        The first is zero, the last is the peak at intensity 1.

        Args:
            emotion: one of `emotions.EMOTIONS` but neutral.
            seed: chooses among the motions; the same seed gives the same one.
        """


@runtime_checkable
class Sink(Device, Protocol):
    """Where frames go. `open` and `write` are called by one thread only."""

    name: str
    live: bool
    """True: paced by the clock, the newest frame counts. False (a file): every frame counts."""

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Get ready for frames.

        Args:
            size: (width, height) px of the first frame; later ones may have another.
            fps: about how many come in a second.

        Raises:
            SinkError: the device or file cannot be used.
        """

    def write(self, frame: Frame) -> None:
        """Put out one frame. Raises SinkError; the session goes on with the other sinks."""


class Performer(Protocol):
    """Does what a remote control names. Any thread may call; every call returns at once."""

    def check(self, text: str) -> None:
        """Raise ConfigError if this names neither an action nor a setting."""

    def act(self, text: str) -> None:
        """Do an action, such as "rest" or "target=anna"."""

    def turn(self, setting: str, share: float) -> None:
        """Turn a setting, such as "drive.intensity", to a share, 0 to 1, of its range."""


class Remote(Protocol):
    """A remote control that is listened to, such as a MIDI device."""

    @property
    def lost(self) -> bool:
        """True if the device has gone, so that another has to be opened."""

    def close(self) -> None:
        """Stop listening. May be called twice."""


@runtime_checkable
class UserClosable(Protocol):
    """A sink that the user can close, such as a window; that ends the session."""

    closed_by_user: bool
    """The user has closed it; later frames are ignored."""
