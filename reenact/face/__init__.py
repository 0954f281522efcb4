"""What a face is, in numbers: 478 landmarks, their topology, pose, regions and action units.

Pictures come in; landmarks go out, together with what can be measured on them.
Everything here works on one face in one picture or over time, and knows nothing of targets.
"""
