"""Aligned faces with the labels of their expressions, and what generators learn from them."""
