"""Training: data, losses, recipes and the loop that runs them.

Input: clips and stills. Output: safetensors files with a header that records their origin.
"""
