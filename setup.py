"""Says which Python is needed before pip downloads anything; the rest is in pyproject.toml.

pip before 24.3 looks for every package first and then names one that this Python does not have.
"""

import sys

from setuptools import setup

if not (3, 10) <= sys.version_info < (3, 13):
    sys.exit(
        "reenact needs Python 3.10, 3.11 or 3.12; this is Python {}.{}.".format(*sys.version_info)
    )

setup()
