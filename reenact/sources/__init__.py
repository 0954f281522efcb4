"""Sources of the actor's frames: webcams, video files and streams, pictures, a test pattern.

A source gets the text after the colon in `kind:argument` and returns `Frame` values.
Each source is one module that ends with the spec that registers it.
"""
