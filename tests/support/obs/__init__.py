"""Starts OBS and Chromium for tests and measurements."""
