"""Evaluation: how good the pictures are, and how fast they come.

Clips with known landmarks come in; figures, tables, contact sheets and videos go out.
The protocols render with the same parts that run live.
"""
