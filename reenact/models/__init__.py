"""Neural networks, one architecture per file, and code to run, store and export them.

Input and output are arrays or tensors. `reenact.training` trains the networks;
`reenact.rendering` prepares their inputs.
"""
