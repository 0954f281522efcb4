"""Faces as numbers: 478 landmarks, their topology, pose, regions and action units.

Pictures come in; landmarks and what can be measured on them go out.
Everything here works on one face, in one picture or over time, and knows nothing of targets.
"""
