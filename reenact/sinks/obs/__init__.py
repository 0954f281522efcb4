"""The source "Reenact" inside OBS: how frames get there, and how it is installed.

Frames go through a ring in shared memory that a Lua script inside OBS reads.
The other modules read and change OBS's own files, or talk to an OBS that runs.
"""
