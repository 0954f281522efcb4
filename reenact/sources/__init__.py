"""Where the actor's frames come from: webcams, video files and streams, pictures, a test pattern.

A source takes what follows the colon in `kind:argument`, and gives out `Frame` values.
One source lives in one file, which ends with the spec that registers it.
"""
