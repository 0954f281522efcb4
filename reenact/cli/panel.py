"""Runs the control panel; its page starts and stops sessions."""

from __future__ import annotations

import os
import sys
import webbrowser
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Final

from reenact.cli.arguments import number
from reenact.cli.live import Interruption, check_files, run_session
from reenact.errors import ReenactError
from reenact.lifecycle import quiet_native_libraries
from reenact.storage import expanded

if TYPE_CHECKING:
    from reenact.panel.server import Address

_TICK_S: Final = 0.2

_OPEN_NETWORK: Final = (
    "Everybody who can reach {host} can open the panel with the token. Without TLS, everybody on "
    "the network path can read the token and see the picture. Use --certificate and --key for TLS. "
    "Other machines put this machine's address into the panel's."
)


def add_address(parser: ArgumentParser) -> None:
    """Add the options that say where the panel is served."""
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        default="",
        help="serve the panel at this address of the machine, so that others can open it; use TLS "
        "(default: the loopback address)",
    )
    parser.add_argument(
        "--port",
        type=number(int, 0, 65535),
        default=0,
        help="port of the panel (default: 7843, or any free one)",
    )
    parser.add_argument("--certificate", type=expanded, metavar="FILE", help="TLS certificate, PEM")
    parser.add_argument("--key", type=expanded, metavar="FILE", help="key of the certificate, PEM")
    parser.add_argument(
        "--no-browser", action="store_true", help="print the panel's address and open nothing"
    )


def check_no_address(arguments: Namespace) -> None:
    """Raise ReenactError if an option of `add_address` was typed, since there is no panel."""
    for option in ("listen", "port", "certificate", "key", "no_browser"):
        if getattr(arguments, option):
            raise ReenactError(f"--{option.replace('_', '-')} is for the panel; add --panel.")


def panel(arguments: Namespace) -> int:
    """Serve the page until Ctrl-C; if a target was typed, start a session with it at once."""
    from reenact.panel.server import PanelServer
    from reenact.panel.studio import Studio

    outputs = arguments.sink or []
    with (
        Interruption() as interruption,
        Studio(arguments.config, arguments.assignments) as studio,
        PanelServer(studio, _address(arguments)) as server,
    ):
        check_files(arguments, outputs, studio.settings().drive.track)
        print(f"The panel: {server.url}", file=sys.stderr, flush=True)
        if not arguments.no_browser and _has_screen():
            webbrowser.open(server.url_once)
        studio.offer(arguments.source, arguments.target or "")
        if arguments.target:
            studio.start(arguments.source or "webcam:0", arguments.target, outputs)
        while not interruption.stop:
            choice = studio.next_start(_TICK_S)
            if choice is None:
                continue
            with quiet_native_libraries():
                controls = studio.open(choice)
            if controls is None:
                continue
            error: Exception | None = None
            try:
                run_session(controls, outputs, arguments.report, interruption)
            except Exception as caught:
                error = caught
            studio.ended(error)
    return 0


def _has_screen() -> bool:
    """Return False where the browser would be a text browser, which would block the program."""
    return not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _address(arguments: Namespace) -> Address:
    from reenact.panel.server import Address
    from reenact.sinks.http_address import LOOPBACK

    host, certificate, key = arguments.listen or LOOPBACK, arguments.certificate, arguments.key
    if (certificate is None) != (key is None):
        raise ReenactError("TLS needs both --certificate and --key.")
    if host not in (LOOPBACK, "::1", "localhost") and certificate is None:
        print(f"reenact: {_OPEN_NETWORK.format(host=host)}", file=sys.stderr)
    return Address(host, arguments.port, certificate, key)
