"""Fakes, generated media and real programs that tests share; nothing is imported from a test."""
