"""Where the target's frames go: virtual camera, OBS, window, browser, video file.

A sink takes `Frame` values from one thread; nothing comes back but errors.
One sink lives in one file (OBS in a folder), which ends with the spec that registers it.
"""
