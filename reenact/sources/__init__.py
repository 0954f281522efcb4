"""Where the actor's frames come from: webcams, video files and streams, pictures, a test pattern.

A source takes what follows the colon in `kind:argument` and gives out `Frame` values.
Each source is a file that ends with the spec that registers it.
"""
