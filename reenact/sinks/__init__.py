"""Outputs for the target's frames: virtual camera, OBS, window, browser, video file.

A sink takes `Frame` values from one thread; it reports only errors.
Each sink is one module (OBS a package) that ends with the spec that registers it.
"""
