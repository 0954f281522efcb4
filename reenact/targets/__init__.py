"""Targets, the faces that are shown: made from photos or videos, stored and opened.

Photos, videos and hand-placed landmarks go in; `Target` values come out.
"""
