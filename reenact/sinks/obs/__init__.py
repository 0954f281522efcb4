"""The source "Reenact" in OBS: how frames get there, and how it is installed.

Frames go through a ring in shared memory, which a Lua script in OBS reads.
The other modules read and change OBS's own files, or talk to a running OBS.
"""
