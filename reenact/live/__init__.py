"""The live path: `pipeline` without threads, `session` with them.

Input: the frames of a source. Output: pictures of the target, the newest one in each interval.
A frame that fails or is missing becomes the target at rest, never the actor's own picture.
"""
