"""Faces as numbers: 478 landmarks, their topology, pose, regions and action units.

Pictures go in; landmarks and measurements of them come out.
Everything here works on one face, in one picture or over time, and is independent of targets.
"""
