"""The panel as an ASGI application: the page's files, the API and the WebSocket behind `Guard`."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from reenact.errors import NameTakenError, ReenactError
from reenact.live.presets import preset_path
from reenact.panel.endpoints import ENDPOINTS, Endpoint
from reenact.panel.gallery import LARGE_PICTURE_PX, PICTURE_PX
from reenact.panel.live_socket import Viewers
from reenact.panel.openapi import document
from reenact.panel.security import Access, Guard
from reenact.panel.studio import Studio
from reenact.panel.uploads import TYPES, TooLargeError
from reenact.targets.exchange_file import SUFFIX

log = logging.getLogger(__name__)

MAX_JSON_BYTES: Final = 1 << 20

_STATIC: Final = Path(__file__).parent / "static"

Answer = Callable[[Request], Awaitable[Response]]


def make_app(studio: Studio, access: Access) -> Starlette:
    """Return the application for who has access."""
    return Starlette(routes=routes(studio), middleware=[Middleware(Guard, access=access)])


def routes(studio: Studio) -> list[BaseRoute]:
    """Return every route of the panel."""

    async def page(request: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def described(request: Request) -> Response:
        return _Json(document())

    return [
        Route("/", page),
        Route("/dock", page),
        Route("/openapi.json", described),
        Route("/api/uploads", _answering(_take_upload(studio)), methods=["POST"]),
        Route("/api/targets/{name}/picture", _answering(_picture(studio))),
        Route("/api/targets/{name}/training", _answering(_training(studio))),
        Route("/api/targets/{name}/export", _answering(_export(studio))),
        Route("/api/presets/{name}/file", _answering(_preset_file)),
        *(
            Route(endpoint.path, _answering(_called(endpoint, studio)), methods=[endpoint.method])
            for endpoint in ENDPOINTS
        ),
        WebSocketRoute("/api/live", Viewers(studio).serve),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]


def _answering(answer: Answer) -> Answer:
    """Turn the exceptions of an endpoint into messages for the page."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except TooLargeError as error:
            return _refused(str(error), 413)
        except NameTakenError as error:
            return _refused(str(error), 409)
        except ClientDisconnect:  # nobody waits for the answer
            return Response(status_code=400)
        except asyncio.CancelledError:  # the panel ends
            return _refused("The panel has ended.", 503)
        except ReenactError as error:
            return _refused(str(error))
        except Exception as error:
            log.exception("A bug in the panel: %s %s.", request.method, request.url.path)
            return _refused(f"{type(error).__name__}: {error}", 500)

    return answered


def _refused(text: str, status: int = 400) -> Response:
    return _Json({"error": text}, status)


def _called(endpoint: Endpoint, studio: Studio) -> Answer:
    async def answer(request: Request) -> Response:
        body = None
        if endpoint.body is not None:
            try:
                body = endpoint.body.model_validate(await _json(request))
            except ValidationError as error:
                problem = error.errors()[0]
                place = ".".join(str(part) for part in problem["loc"])
                return _refused(f"{place}: {problem['msg']}.")
            except (ValueError, RecursionError):  # RecursionError: nested too deeply
                return _refused("The body is not JSON.")
        value = await run_in_threadpool(endpoint.call, studio, request.path_params, body)
        return _Json({"value": value})

    return answer


class _Json(JSONResponse):
    """JSON in ASCII, because the name of a file may hold bytes that are not text."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode("ascii")


async def _json(request: Request) -> Any:
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_JSON_BYTES:
            raise TooLargeError("The body is larger than a megabyte.")
    return json.loads(content or b"{}")


def _take_upload(studio: Studio) -> Answer:
    async def answer(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in TYPES:
            return _refused("Send a picture, a video or an exported target.", 415)
        name = request.query_params.get("name", "")
        return _Json({"value": await studio.uploads.take(kind, request.stream(), name)})

    return answer


def _picture(studio: Studio) -> Answer:
    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        side_px = LARGE_PICTURE_PX if "large" in request.query_params else PICTURE_PX
        content = await run_in_threadpool(studio.gallery.picture, name, side_px)
        return Response(content, media_type="image/jpeg")

    return answer


def _training(studio: Studio) -> Answer:
    async def answer(request: Request) -> Response:
        path = studio.gallery.training_preview(request.path_params["name"])
        if path is None:
            return Response(status_code=204)  # a page asks until there is one
        return FileResponse(path, media_type="image/png")

    return answer


def _export(studio: Studio) -> Answer:
    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        scratch = tempfile.TemporaryDirectory(dir=studio.uploads.folder)
        try:
            path = await run_in_threadpool(
                studio.gallery.store.export_file, name, Path(scratch.name) / f"target{SUFFIX}"
            )
        except BaseException:
            scratch.cleanup()
            raise
        done = BackgroundTask(scratch.cleanup)
        return FileResponse(path, filename=f"{name}{SUFFIX}", background=done)

    return answer


async def _preset_file(request: Request) -> Response:
    path = preset_path(request.path_params["name"])
    if not path.is_file():
        return _refused("There is no such preset.", 404)
    return FileResponse(path, filename=path.name, media_type="application/toml")
