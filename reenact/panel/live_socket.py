"""The WebSocket of a page: the state twice a second, and pictures as fast as the page draws them.

The page asks for data as JSON: `{"watch": ["output", "actor", "features"]}`. The state is sent as
`{"state": ...}`, the bars as `{"features": [...]}`, and a picture as a JPEG preceded by a byte for
its kind (`PICTURES`). After each picture the page sends `{"drawn": true}`; until then it gets no
other picture, so that a slow page misses pictures instead of showing old ones.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from reenact.panel.preview import NewestPicture
from reenact.panel.studio import Studio

PICTURES: Final = {"output": b"\x00", "actor": b"\x01"}

MAX_VIEWERS: Final = 16
"""Maximum number of connections; more are refused."""

_STATE_S: Final = 0.5
_FEATURES_S: Final = 0.125
_GAP_S: Final = 0.06
"""Minimum interval between two pictures; at 20 to 33 pictures a second every second one is sent."""

SLOW_GAP_S: Final = 0.2
"""The same while the session is below its rate, to leave it the CPU."""

_WAIT_S: Final = 0.1
"""Maximum wait for a new picture before the page's requests are checked again."""

_STALLED_S: Final = 20.0
"""A page that receives nothing for this time is disconnected."""

_LOST: Final = (
    WebSocketDisconnect,
    RuntimeError,  # sending after the socket was closed
    asyncio.TimeoutError,
    ValueError,  # an invalid message
    KeyError,  # a message without text
)


class Viewers:
    """The connected pages. Only the server's event loop may call.

    Args:
        studio: state and functions of the panel.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._viewers: set[_Viewer] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one page until it disconnects."""
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
        """Have the session, or the camera's preview, make the actor's picture only for a page."""
        controls, wanted = self._studio.controls, any("actor" in v.watch for v in self._viewers)
        if controls is not None:
            controls.watch_actor(wanted)
        elif wanted:
            self._studio.keep_watching()


class _Viewer:
    def __init__(self, studio: Studio, socket: WebSocket) -> None:
        self.watch: frozenset[str] = frozenset()
        self._studio = studio
        self._socket = socket
        self._drawn = asyncio.Event()
        self._drawn.set()
        self._sent: dict[str, bytes] = {}
        self._gap_s = _GAP_S

    async def run(self, wanted: Callable[[], None]) -> None:
        work = [
            asyncio.create_task(one)
            for one in (self._read(wanted), self._send_news(wanted), self._send_pictures())
        ]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
        for ended in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(ended, Exception) and not isinstance(ended, _LOST):
                raise ended

    async def _read(self, wanted: Callable[[], None]) -> None:
        while True:
            self._take(json.loads(await self._socket.receive_text()))
            wanted()

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise ValueError("not an object")
        if message.get("drawn"):
            self._drawn.set()
        if isinstance(message.get("watch"), list):
            self.watch = frozenset(str(what) for what in message["watch"][:8])

    async def _send_news(self, wanted: Callable[[], None]) -> None:
        """Send state and features. A page that receives neither is disconnected."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            if loop.time() >= due_s:
                due_s += _STATE_S
                wanted()  # a session that has just started does not know yet
                state = self._studio.state()
                is_slow = state["session"] is not None and state["session"]["slow"]
                self._gap_s = SLOW_GAP_S if is_slow else _GAP_S
                await self._send({"state": state})
            if "features" not in self.watch:
                await asyncio.sleep(_STATE_S)
                continue
            controls = self._studio.controls
            found = [] if controls is None else controls.features()
            await self._send({"features": [asdict(one) for one in found]})
            await asyncio.sleep(_FEATURES_S)

    async def _send_pictures(self) -> None:
        """Send each requested kind as soon as it is made, once the last one is drawn.

        The session's threads wait for the GIL whenever this thread wakes. So it wakes only twice
        per picture: when one was drawn, and when the next one is ready.
        """
        loop, fresh = asyncio.get_running_loop(), asyncio.Event()
        tell = partial(loop.call_soon_threadsafe, fresh.set)
        from_s = 0.0
        while True:
            await self._drawn.wait()
            fresh.clear()
            for newest in (self._studio.picture, self._studio.actor):
                newest.tell_next(tell, from_s)
            look_again = loop.call_later(max(_WAIT_S, from_s - time.monotonic()), fresh.set)
            await fresh.wait()
            look_again.cancel()
            for name in self.watch & PICTURES.keys():
                jpeg = self._newest(name).jpeg()
                if jpeg and jpeg is not self._sent.get(name):
                    self._sent[name] = jpeg
                    self._drawn.clear()
                    from_s = time.monotonic() + self._gap_s
                    await self._socket.send_bytes(PICTURES[name] + jpeg)

    def _newest(self, name: str) -> NewestPicture:
        if name == "output":
            return self._studio.picture
        controls = self._studio.controls
        if controls is not None:
            self._studio.actor.put(controls.actor_picture())
        return self._studio.actor

    async def _send(self, value: dict[str, Any]) -> None:
        await asyncio.wait_for(self._socket.send_text(json.dumps(value)), _STALLED_S)
