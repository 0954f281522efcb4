"""What the tests and the measurements need to start the real programs."""
