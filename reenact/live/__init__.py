"""One frame's way from source to sink: `pipeline` without threads, `session` with them.

A source's frames come in; finished pictures go out at an even rate, the newest each time.
A failed or missing frame becomes the target at rest, never the actor's own picture.
"""
