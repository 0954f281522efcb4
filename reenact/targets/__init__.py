"""Targets: the faces that are shown. They are made from photos or videos, stored and opened here.

Photos, videos and hand-placed landmarks come in; `Target` values go out.
"""
