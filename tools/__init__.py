"""Scripts that make the files in `reenact/assets`, pictures and pages of the documentation.

Run them from the root of the repository (`python -m tools.NAME`); they are not installed.
"""

from pathlib import Path
from typing import Final

ASSETS: Final = Path(__file__).parents[1] / "reenact" / "assets"
