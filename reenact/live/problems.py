"""Describes the problems of a session, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reenact.errors import ReenactError
from reenact.face.face_search import several_faces
from reenact.live.session import Session
from reenact.types import HasProblem


def problems(session: Session, state: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the problems: `where` in the snapshot, `what` is wrong, and what to `do`.

    That of an output also has the name of the `output`.

    Args:
        session: the session.
        state: its snapshot, see `Controls.snapshot`.
    """
    error = session.error
    if error is not None:
        known = isinstance(error, ReenactError)
        told = str(error) if known else f"{type(error).__name__}: {error}"
        yield _problem("state", f"The session has ended. {told}", "Start it again.")
    if session.source_problem:
        yield _problem("source", session.source_problem, "The target rests until it is back.")
    elif isinstance(session.source, HasProblem) and session.source.problem:
        yield _problem("source", session.source.problem, "The target rests until a face is seen.")
    elif state["face"] in ("lost", "none"):
        silent = session.settings.fusion.voice == "off"
        yield _problem(
            "face",
            f"No face is seen, so the target {'rests' if silent else 'has only your voice'}.",
            "Sit in front of the camera with light on your face.",
        )
    elif state["face"] == "found" and session.reenactor.faces_seen > 1:
        chosen = session.settings.tracking.face
        yield _problem("faces", *several_faces(session.reenactor.faces_seen, chosen))
    if session.voice.problem:
        yield _problem("voice", session.voice.problem, "Connect it, then switch Voice off and on.")
    if state["slow"]:
        yield _problem(
            "fps",
            f"{state['fps']:.0f} frames a second instead of {state['wanted_fps']:.0f}.",
            "Close other programs, or choose a smaller size or rate among the outputs.",
        )
    for output in state["outputs"]:
        if output["error"]:
            failed = _problem("outputs", output["error"], "Fix this, then switch it on again.")
            yield {**failed, "output": output["name"]}
    for problem in session.output.problems.values():
        yield _problem("recording", problem, "The recording goes on.")
    for remote in state["remotes"]:
        if remote["error"]:
            yield _problem("remotes", remote["error"], "Everything else works; see remote.use.")


def _problem(where: str, what: str, remedy: str) -> dict[str, str]:
    return {"where": where, "what": what, "do": remedy}
