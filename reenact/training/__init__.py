"""How the weights are made: data, losses, recipes and the one loop that runs them.

Clips and stills come in; safetensors files with a header that says where they come from go out.
"""
