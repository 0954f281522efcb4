"""What generators learn from that draw an aligned face as a vector says.

Clips come in; aligned faces with the labels of their expressions go out, some of them bent to
acted emotions. `recipe` trains such a generator against its critics.
"""
