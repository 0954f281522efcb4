"""The faces that are shown: how they are made from photos and videos, stored and opened.

Photos, videos and hand-placed landmarks come in; `Target` values go out.
"""
