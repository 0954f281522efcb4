"""The WebSocket of a page: the state twice a second, pictures as fast as the page draws them.

The page says what it wants as JSON: `{"watch": ["output", "actor", "features"]}`. The state comes
as `{"state": ...}`, the bars as `{"features": [...]}`, and a picture as a byte that tells which it
is (`PICTURES`) before a JPEG. After each picture the page sends `{"drawn": true}`; until then it
gets no other, so that a slow reader misses pictures instead of seeing old ones.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from reenact.panel.preview import NewestPicture
from reenact.panel.studio import Studio

PICTURES: Final = {"output": b"\x00", "actor": b"\x01"}

MAX_VIEWERS: Final = 16
"""More connections than these are refused."""

_TICK_S: Final = 0.05
_STATE_S: Final = 0.5
_FEATURES_S: Final = 0.1
_STALLED_S: Final = 20.0
"""A reader that takes nothing for so long is disconnected."""


class Viewers:
    """The pages that are connected. The server's loop calls.

    Args:
        studio: what they show.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._viewers: set[_Viewer] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one page until it goes."""
        if len(self._viewers) >= MAX_VIEWERS:
            await socket.close(1013)
            return
        await socket.accept()
        viewer = _Viewer(self._studio, socket)
        self._viewers.add(viewer)
        try:
            await viewer.run(self._wanted)
        finally:
            self._viewers.discard(viewer)
            self._wanted()

    def _wanted(self) -> None:
        """Let the session keep the actor's picture only while a page wants it."""
        controls = self._studio.controls
        if controls is not None:
            controls.watch_actor(any("actor" in viewer.watch for viewer in self._viewers))


class _Viewer:
    def __init__(self, studio: Studio, socket: WebSocket) -> None:
        self.watch: frozenset[str] = frozenset()
        self._studio = studio
        self._socket = socket
        self._drawn = True
        self._sent: dict[str, bytes] = {}

    async def run(self, wanted: Any) -> None:
        sending = asyncio.create_task(self._send_all(wanted))
        try:
            while True:
                self._take(json.loads(await self._socket.receive_text()))
                if sending.done():
                    return
        except (WebSocketDisconnect, ValueError, KeyError, RuntimeError):
            return
        finally:
            sending.cancel()

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise ValueError("not an object")
        if message.get("drawn"):
            self._drawn = True
        if isinstance(message.get("watch"), list):
            self.watch = frozenset(str(what) for what in message["watch"][:8])

    async def _send_all(self, wanted: Any) -> None:
        state_s = features_s = 0.0
        try:
            while True:
                now_s = time.monotonic()
                if now_s - state_s >= _STATE_S:
                    state_s = now_s
                    wanted()
                    state = await run_in_threadpool(self._studio.state)
                    await self._send_text({"state": state})
                if "features" in self.watch and now_s - features_s >= _FEATURES_S:
                    features_s = now_s
                    await self._send_text({"features": self._features()})
                if self._drawn:
                    await self._send_picture()
                await asyncio.sleep(_TICK_S)
        except (WebSocketDisconnect, RuntimeError, TimeoutError, asyncio.TimeoutError):
            await self._socket.close()

    def _features(self) -> list[dict[str, Any]]:
        controls = self._studio.controls
        return [] if controls is None else [asdict(one) for one in controls.features()]

    async def _send_picture(self) -> None:
        for name, mark in PICTURES.items():
            if name not in self.watch:
                continue
            jpeg = await run_in_threadpool(self._newest(name).jpeg)
            if jpeg and jpeg is not self._sent.get(name):
                self._sent[name] = jpeg
                self._drawn = False
                await asyncio.wait_for(self._socket.send_bytes(mark + jpeg), _STALLED_S)

    def _newest(self, name: str) -> NewestPicture:
        if name == "output":
            return self._studio.picture
        controls = self._studio.controls
        if controls is not None:
            self._studio.actor.put(controls.actor_picture())
        return self._studio.actor

    async def _send_text(self, value: dict[str, Any]) -> None:
        await asyncio.wait_for(self._socket.send_json(value), _STALLED_S)
