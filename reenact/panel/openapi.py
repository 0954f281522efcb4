"""The OpenAPI document, generated from the table of endpoints."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from reenact.panel.endpoints import ENDPOINTS, Endpoint
from reenact.panel.uploads import TYPES


def document() -> dict[str, Any]:
    """Return the description of the API in OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    upload: dict[str, Any] = {kind: {"schema": {}} for kind in sorted(TYPES)}
    paths["/api/uploads"] = {
        "post": {
            "summary": "Upload a file; returns its identifier for other requests",
            "parameters": [
                {
                    "name": "name",
                    "in": "query",
                    "description": "name of the file in messages and in the target's metadata",
                    "schema": {"type": "string"},
                }
            ],
            "requestBody": {"required": True, "content": upload},
            "responses": _responses(),
        }
    }
    for path, summary in _FILES.items():
        operation = {"summary": summary, "parameters": _parameters(path)}
        paths[path] = {"get": {**operation, "responses": {"200": {"description": "The file"}}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reenact panel",
            "version": version("reenact"),
            "description": "Give the token as `Authorization: Bearer TOKEN`. `/api/live` is a "
            "WebSocket: see docs/panel.md.",
        },
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": paths,
    }


_FILES = {
    "/api/targets/{name}/picture": "A target's picture, JPEG",
    "/api/targets/{name}/training": "Preview of its training, PNG",
    "/api/targets/{name}/export": "A target as a file to share",
    "/api/presets/{name}/file": "A preset as a TOML file",
}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint.path),
        "responses": _responses(),
    }
    if endpoint.body is not None:
        schema = endpoint.body.model_json_schema()
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


def _parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _responses() -> dict[str, Any]:
    return {
        "200": {"description": "Done; `value` holds the result"},
        "400": {"description": "Rejected; `error` says why and what to do"},
        "401": {"description": "The token is missing or wrong"},
        "409": {"description": "The target's name is taken"},
    }
