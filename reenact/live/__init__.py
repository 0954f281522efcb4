"""From a source's frames to a sink's pictures: `pipeline` without threads, `session` with them.

The frames of a source come in; pictures of the target go out, the newest one in each interval.
A frame that fails or is missing becomes the target at rest, never the actor's own picture.
"""
