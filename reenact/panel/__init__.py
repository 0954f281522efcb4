"""The control panel: a web page on the loopback address, and its API.

It translates a browser's requests into calls of `live.controls.Controls`. `server` runs in its own
thread with its own event loop, so that a failure of the panel does not end the session.
"""
