"""Evaluation: measures how good the pictures are and how fast they are made.

Input: clips with known landmarks. Output: figures, tables, contact sheets and videos.
The protocols render with the same components as the live path.
"""
