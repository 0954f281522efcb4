"""How a target is drawn: from landmarks to a picture, frame by frame.

A `Target` is prepared once; then each `Drive` becomes a picture of the target's crop.
Pasting, cutting out and blending over time finish that picture.
"""
