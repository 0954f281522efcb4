"""Training of generators that draw an aligned face from a condition vector.

Clips are turned into aligned faces with expression labels, some of them drawn with acted emotions.
`recipe` trains a generator on them against its critics.
"""
