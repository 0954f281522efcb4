"""The values that are passed through the program, and the protocols of its exchangeable parts.

Pictures are uint8 (H, W, 3) RGB, C-contiguous, everywhere between a source and a sink.
Coordinates are image pixels, x right, y down; z is on the same scale, negative towards the
camera. Times are seconds on a monotonic clock. Errors are those of `reenact.errors`; None
means an ordinary absence (no face, source ended), never a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), RGB, C-contiguous."""

Array = NDArray[np.float32]
"""float32 array; each use documents the shape."""

SOUND_HZ: Final = 48_000
"""Samples a second of live sound: int16, mono."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """478 face landmarks in the order of MediaPipe FaceMesh with irises.

    Attributes:
        points: float32 (478, 3) in px of the image they were found in; z on the same scale.
        confidence: 0 to 1.
        size: (width, height) px of that image.
        tongue: how far the tongue is out, 0 to 1; 0 if the tracker does not see that.
    """

    points: Array
    confidence: float
    size: tuple[int, int]
    tongue: float = 0.0


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
    """The actor's expression, independent of the actor's identity.

    Attributes:
        deviation: float32 (478, 3) iod, face frame: the actor's shape minus the actor's neutral.
        pose: the actor's head pose.
        action_units: float32 (17,) in 0 to 1, in the order of `topology.ACTION_UNITS`.
        tongue: how far the tongue is out, 0 to 1.
    """

    deviation: Array
    pose: Pose
    action_units: Array
    tongue: float = 0.0


EVENTS: Final = ("reset", "set_neutral", "undo_neutral")
"""The events of a performance, in the order of `PerformanceFrame.events`."""


class PartMotion(NamedTuple):
    """How a part of an actor's body has moved.

    Attributes:
        motion: float32 (4,): across and down, iod; roll, radians; logarithm of the change of size.
        since: a number that identifies the picture from which the motion is measured.
    """

    motion: Array
    since: int


class SeenBody(NamedTuple):
    """What is visible of the actor's body besides the face.

    Attributes:
        torso: motion of the shoulders and chest; None: not visible.
        hair: motion of hair, ears or hat; None: not visible.
    """

    torso: PartMotion | None = None
    hair: PartMotion | None = None


@dataclass(frozen=True, slots=True)
class PerformanceFrame:
    """One frame of a performance: the actor's landmarks, and those that the target got.

    A source that knows the landmarks passes them on in it, with what a file stored of an earlier
    run. Sinks get it filled in, as `Frame.performance`.

    Attributes:
        landmarks: of the actor, as tracked; None: no face.
        time_s: of the actor's frame.
        events: (3,) which of `EVENTS` happened since the frame before.
        stored: (478, 3) the neutral that the run began with, face frame, iod; None: none.
        fused: (478, 3) landmarks of the target, px of its crop; None: no face, or not fused yet.
        expression: of the actor; None as for `fused`.
        trust: (6,) 0 to 1, how far each of `regions.PARTS` was trusted.
        limited: (12,) which of `limits.LIMITED` were limited and, last, whether the whole was.
        body: of the actor.
        voice: how far the actor's voice opens the mouth, 0 to 1; None: nobody listens.
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
    voice: float | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream.

    Attributes:
        image: uint8 (H, W, 3) RGB, contiguous.
        time_s: for a live source the monotonic time of capture, in a sink that of writing; for a
            file the presentation time from the file's start.
        index: the source's running number, from 0.
        alpha: uint8 (H, W) opacity of the target, 255 opaque; None: opaque everywhere.
        performance: landmarks of actor and target, if known; else None.
        captured_s: in a sink, the time of capture if the source is live; else None.
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
        motion: float32 (2, 3) similarity, in coordinates relative to the crop's side: x right, y
            down, 0 and 1 at the edges.
        share: 0: the part follows the head alone; 1: it follows `motion`.
    """

    motion: Array
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Body:
    """Where the target's body is; a part that is None follows the head alone.

    Attributes:
        torso: its motion maps the torso at rest to where it is now.
        hair: its motion maps the hair as the head alone would move it to where it is now.
    """

    torso: MovedPart | None = None
    hair: MovedPart | None = None


HEAD_ALONE: Final = Body()
"""A body of which nothing is known: all of it follows the head."""


@dataclass(frozen=True, slots=True)
class Drive:
    """Everything that a renderer may use to draw one frame.

    Attributes:
        landmarks: float32 (478, 3), px of the target's crop, with the intensity applied.
        expression: the target's expression before the intensity is applied: the actor's, and what
            a key, a file or a hand adds to it. Without an actor it is that of the idle target.
        emotion: float32 (8,) weights of sum 1, in the order of `emotions.EMOTIONS`.
        intensity: 0 neutral, 1 as acted, up to 2.
        time_s: time of the frame.
        dt_s: seconds since the previous frame; 0 for the first.
        body: torso and hair.
    """

    landmarks: Array
    expression: Expression
    emotion: Array = field(default_factory=lambda: np.eye(8, dtype=np.float32)[0])
    intensity: float = 1.0
    time_s: float = 0.0
    dt_s: float = 0.0
    body: Body = HEAD_ALONE


@dataclass(frozen=True, slots=True)
class Target:
    """The face that is shown.

    Attributes:
        name: what the user calls it.
        references: uint8 (K, S, S, 3) RGB crops, K from 1 to 16; the first is the calmest.
        landmarks: float32 (K, 478, 3), px of the crop.
        neutral: float32 (478, 3), the target's neutral landmarks, px of the crop; it has the
            pose of the first reference.
        plate: uint8 (H, W, 3) RGB, the whole picture that the moving face is pasted into.
        crop_to_plate: float32 (2, 3) affine, crop px to plate px (uniform scale and shift).
        renderer: name of the renderer that drew it best when it was made, or that `weights` belong
            to; "auto": none was chosen.
        weights: path of its own weights; None: the shipped ones.
        metadata: free text fields (made when, from what, consent).
        extent: side of the crop in sides of the usual one, of which the face's height is
            `geometry.FACE_SHARE`.
        alphas: uint8 (K, S, S), the person's alpha in each reference, which lies on white then;
            None: the pictures came without.
        plate_alpha: uint8 (H, W), that in the plate, which lies on white then; None as for
            `alphas`.
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
    alphas: NDArray[np.uint8] | None = None
    plate_alpha: NDArray[np.uint8] | None = None

    @property
    def crop_size(self) -> int:
        """Side S of the square crop in px."""
        return int(self.references.shape[1])

    @property
    def usual_size(self) -> int:
        """Side of the usual crop at the same scale in px."""
        return round(self.crop_size / self.extent)

    @property
    def headroom(self) -> float:
        """Distance of the neutral face from the plate's upper edge, px of the crop."""
        edge = -(float(self.crop_to_plate[1, 2]) + 0.5) / float(self.crop_to_plate[1, 1])
        return float(self.neutral[:, 1].min()) - edge


class Device(Protocol):
    """A resource that is closed; every source and sink is a context manager."""

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
    """True: frames arrive in real time and late ones are dropped. False: every frame counts."""

    name: str
    """The name shown to users, such as that of the camera or file."""

    size: tuple[int, int]
    """(width, height) px of the frames, known once open."""

    fps: float
    """Frames a second: measured for a camera, from the stream for a file."""

    def read(self) -> Frame | None:
        """Return the next frame, or None when the source has ended.

        A live source blocks until there is a new frame. Raises SourceError if the device
        fails (unplugged, busy, frozen); the session then shows the target at rest and
        reads again.
        """


@runtime_checkable
class HasLength(Protocol):
    """A source that knows its total number of frames."""

    frames_total: int | None
    """An estimate; None: unknown."""


class VoiceInput(Protocol):
    """The sound in which the actor speaks: of a microphone, or of the actor's video."""

    def hear(self, until_s: float) -> NDArray[np.int16]:
        """Return the mono samples at `SOUND_HZ` since the last call.

        Args:
            until_s: the time of a frame. Of a file, the sound before it is returned; a microphone
                ignores it and returns what it has.
        """

    def close(self) -> None:
        """Release everything. May be called twice."""


@runtime_checkable
class HasVoice(Protocol):
    """A source that may have the actor's voice."""

    def open_voice(self) -> VoiceInput | None:
        """Open the voice beside the frames; None if there is no sound."""


@runtime_checkable
class Tracker(Protocol):
    """Finds the landmarks of one face. One thread at a time may call."""

    faces_seen: int
    """The number of faces in the last picture."""

    def track(self, frame: Frame) -> Landmarks | None:
        """Return the chosen face's landmarks, px of the frame; None if there is no face."""

    def reset(self) -> None:
        """Forget the previous frame, for instance after a cut or with a new source."""

    def close(self) -> None:
        """Release the models."""


@runtime_checkable
class SeesFaces(Protocol):
    """A tracker that tells where all faces of a picture are, not only the chosen one."""

    faces: Sequence[Array]
    """(478, 3) landmarks, px, of every face in the last picture."""


@runtime_checkable
class Renderer(Protocol):
    """Draws the target with an expression. One thread at a time may call."""

    device: str
    """What it runs on, such as "cpu" or "cuda"."""

    def prepare(self, target: Target) -> None:
        """Compute what all frames of this target share; call it before `render`.

        Raises ModelError if the weights are missing, damaged or of another renderer.
        """

    def render(self, drive: Drive) -> Image:
        """Return uint8 (S, S, 3) RGB, the target's crop with the driven expression."""

    def reset(self) -> None:
        """Forget earlier frames."""


@runtime_checkable
class CutsOut(Protocol):
    """A renderer that moves the outline of the person."""

    def cut_out(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the person's alpha in the last picture, uint8 (S, S).

        `alpha` is that in the target's first reference, uint8 (S, S).
        """


@runtime_checkable
class MotionSource(Protocol):
    """Generates the course of an expression, from rest to its peak."""

    def motion(self, emotion: str, seed: int) -> Array:
        """Return float32 (F, 478, 3) deviations, face frame, iod, at 25 frames a second.

        The first is zero; the last is the peak at intensity 1.

        Args:
            emotion: one of `emotions.EMOTIONS` except "neutral".
            seed: selects a motion; the same seed gives the same motion.
        """


@runtime_checkable
class Sink(Device, Protocol):
    """Where frames go. `open` and `write` are called by one thread only."""

    name: str
    live: bool
    """True: paced by the clock; the newest frame counts. False (a file): every frame counts."""

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Prepare for frames.

        Args:
            size: (width, height) px of the first frame; later frames may differ.
            fps: approximate frame rate.

        Raises:
            SinkError: the device or file cannot be used.
        """

    def write(self, frame: Frame) -> None:
        """Output one frame. Raises SinkError; the session then goes on with the other sinks."""


class Performer(Protocol):
    """Carries out a remote control's commands. Any thread may call; every call returns at once."""

    def check(self, text: str) -> None:
        """Raise ConfigError if the text names neither an action nor a setting."""

    def act(self, text: str) -> None:
        """Carry out an action, such as "rest" or "target=anna"."""

    def turn(self, setting: str, share: float) -> None:
        """Set a setting, such as "drive.intensity", to a fraction, 0 to 1, of its range."""


class Remote(Protocol):
    """An open remote control, such as a MIDI device."""

    @property
    def lost(self) -> bool:
        """True if the device has disappeared and has to be opened again."""

    def close(self) -> None:
        """Stop listening. May be called twice."""


@runtime_checkable
class HasProblem(Protocol):
    """A source or sink that reports what is wrong with its pictures."""

    problem: str
    """A sentence; "" if nothing is wrong."""


@runtime_checkable
class UserClosable(Protocol):
    """A sink that the user can close, such as a window; that ends the session."""

    closed_by_user: bool
    """The user has closed it; later frames are ignored."""
