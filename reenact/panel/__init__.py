"""The control panel: a page on the loopback address, and the API behind it.

A browser's requests come in; calls of `live.controls.Controls` go out. `server` runs in a thread
with a loop of its own, so that a session goes on whatever happens here.
"""
