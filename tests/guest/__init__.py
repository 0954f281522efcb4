"""A virtual machine with real video devices, for tests that no host can be asked to run.

`build_image` makes its kernel and first file system from Debian's packages, `machine` boots it with
this machine's root as a read-only layer and runs a command there, and `conftest` runs the tests of
the `check_*.py` beside it inside: once for each file, each test with an outcome of its own.
`devices` plugs, unplugs, loads and unloads inside the guest.
"""
