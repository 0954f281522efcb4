"""Networks, one architecture a file, and what runs, stores and exports them.

Arrays or tensors come in; arrays or tensors go out.
Training lives in `reenact.training`; what prepares the inputs lives in `reenact.rendering`.
"""
