"""Where the target's frames go: virtual camera, OBS, window, browser, video file.

A sink takes `Frame` values from one thread and gives nothing back but errors.
Each sink is a file (OBS a folder) that ends with the spec that registers it.
"""
