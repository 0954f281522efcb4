"""Controls a running OBS through obs-websocket 5.

The optional obsws-python is imported only here.
"""

from __future__ import annotations

import base64
import logging
import os
import sys
from collections.abc import Callable
from getpass import getpass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.sinks.obs.config_files import RemoteControl
from reenact.sinks.obs.scene_collection import KIND, free_name

PASSWORD_VARIABLE: Final = "REENACT_OBS_PASSWORD"

_MICROPHONES: Final = frozenset(
    ("alsa_input_capture", "coreaudio_input_capture", "pulse_input_capture", "wasapi_input_capture")
)

_TIMEOUT_S: Final = 10.0
_INSTALL: Final = "`pip install '.[obs]'`, or `pip install obsws-python`"


class ObsRemote(ClosesOnExit):
    """A connection to OBS on this machine. Use from one thread; each request may take seconds."""

    def __init__(self, settings: RemoteControl, ask: Callable[[], str] | None = None) -> None:
        """Connect.

        The password comes from the environment variable `REENACT_OBS_PASSWORD`, else from OBS's own
        settings, else from `ask` (None: the terminal, if there is one). It is not stored. Raises
        SinkError if obsws-python is missing, or OBS does not listen or rejects the password.
        """
        self._port = settings.port
        self._password = os.environ.get(PASSWORD_VARIABLE) or settings.password
        try:
            self._client: Any = _connect(self._port, self._password)
        except _WrongPasswordError as error:
            self._password = (ask or _ask)()
            if not self._password:
                raise SinkError(
                    "OBS refuses the password; find it under Tools > WebSocket Server Settings > "
                    f"Show Connect Info, and set {PASSWORD_VARIABLE} to it."
                ) from error
            try:
                self._client = _connect(self._port, self._password)
            except _WrongPasswordError as again:
                raise SinkError(
                    "OBS refuses this password as well; find it under Tools > WebSocket Server "
                    "Settings > Show Connect Info."
                ) from again

    def request(self, kind: str, **data: Any) -> dict[str, Any]:
        """Send a request and return its answer.

        Raises SinkError if OBS rejects it, does not answer or has ended.
        """
        from obsws_python.error import OBSSDKError, OBSSDKTimeoutError
        from websocket import WebSocketException

        if self._client is None:
            self._client = _connect(self._port, self._password)
        try:
            return self._client.send(kind, data or None, raw=True) or {}
        except OBSSDKTimeoutError as error:
            # A late answer on this connection would be taken for that to the next request.
            self.close()
            raise SinkError(
                f"OBS has not answered {kind} for {_TIMEOUT_S:.0f} s; try again."
            ) from error
        except (OBSSDKError, WebSocketException, OSError, ValueError, KeyError) as error:
            raise SinkError(f"OBS refused {kind}: {error}") from error

    def version(self) -> str:
        """Return OBS's version."""
        return str(self.request("GetVersion")["obsVersion"])

    def knows_source(self) -> bool:
        """Return True if OBS has loaded the script."""
        return KIND in self.request("GetInputKindList")["inputKinds"]

    def sources(self) -> list[str]:
        """Return the names of the script's sources."""
        return [
            entry["inputName"] for entry in self.request("GetInputList", inputKind=KIND)["inputs"]
        ]

    def current_scene(self) -> str:
        """Return the name of the scene that is on air."""
        return str(self.request("GetCurrentProgramScene")["currentProgramSceneName"])

    def add_source(self) -> list[str]:
        """Add the source to the current scene if missing; return a description of what was done."""
        scene = self.current_scene()
        names = self.sources()
        items = self.request("GetSceneItemList", sceneName=scene)["sceneItems"]
        if any(item["sourceName"] in names for item in items):
            return []
        if names:
            name = names[0]
            item = self.request("CreateSceneItem", sceneName=scene, sourceName=name)
        else:
            name = self._free_name()
            item = self.request(
                "CreateInput", sceneName=scene, inputName=name, inputKind=KIND, inputSettings={}
            )
        video = self.request("GetVideoSettings")
        self.request(
            "SetSceneItemTransform",
            sceneName=scene,
            sceneItemId=item["sceneItemId"],
            sceneItemTransform={
                "positionX": 0.0,
                "positionY": 0.0,
                "boundsType": "OBS_BOUNDS_SCALE_INNER",
                "boundsAlignment": 0,
                "boundsWidth": float(video["baseWidth"]),
                "boundsHeight": float(video["baseHeight"]),
            },
        )
        return [f"the source {name} is in the scene {scene}"]

    def remove_sources(self) -> list[str]:
        """Remove the script's sources from all scenes; return a description of what was done."""
        names = self.sources()
        for name in names:
            self.request("RemoveInput", inputName=name)
        return [f"the source {name} is removed" for name in names]

    def delay_microphones(self, delay_ms: int) -> list[str]:
        """Delay every microphone by `delay_ms`, so that voice and lips agree; return their names.

        Desktop sound is not delayed, because it has no visible speaker.
        """
        special = self.request("GetSpecialInputs")
        names = [name for place, name in special.items() if place.startswith("mic") and name]
        names += [
            entry["inputName"]
            for entry in self.request("GetInputList")["inputs"]
            if entry["unversionedInputKind"] in _MICROPHONES and entry["inputName"] not in names
        ]
        for name in names:
            self.request("SetInputAudioSyncOffset", inputName=name, inputAudioSyncOffset=delay_ms)
        return names

    def screenshot(self, source: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return what a source or scene shows: uint8 (H, W, 4) RGBA, straight alpha.

        `size` is (width, height) px, None: its own. Raises SinkError if OBS has no picture of it.
        """
        wanted = {} if size is None else {"imageWidth": size[0], "imageHeight": size[1]}
        answer = self.request("GetSourceScreenshot", sourceName=source, imageFormat="png", **wanted)
        encoded = base64.b64decode(answer["imageData"].partition(",")[2])
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3:
            raise SinkError(f"OBS has no picture of {source}.")
        way = cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGBA
        return np.asarray(cv2.cvtColor(picture, way), np.uint8)

    def close(self) -> None:
        """Close the connection; another request opens it again. May be called twice."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()

    def _free_name(self) -> str:
        taken = {entry["inputName"] for entry in self.request("GetInputList")["inputs"]}
        taken |= {entry["sceneName"] for entry in self.request("GetSceneList")["scenes"]}
        return free_name(taken)


class _WrongPasswordError(Exception):
    """OBS refuses the password."""


def _connect(port: int, password: str) -> Any:
    try:
        import obsws_python
        from obsws_python.error import OBSSDKError
        from websocket import WebSocketException
    except ImportError as error:
        raise SinkError(f"obsws-python is not installed; get it by {_INSTALL}.") from error
    # It would print failures, and the password together with its settings.
    logging.getLogger("obsws_python").setLevel(logging.CRITICAL + 1)
    try:
        return obsws_python.ReqClient(
            host="127.0.0.1", port=port, password=password, timeout=_TIMEOUT_S
        )
    except OBSSDKError as error:
        raise _WrongPasswordError from error
    except (OSError, ValueError, WebSocketException) as error:
        raise SinkError(
            f"OBS does not answer on port {port}; start it, and turn on Tools > WebSocket Server "
            "Settings > Enable WebSocket server."
        ) from error


def _ask() -> str:
    return getpass("Password of OBS's WebSocket server: ") if sys.stdin.isatty() else ""
