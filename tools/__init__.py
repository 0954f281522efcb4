"""What makes the files in `reenact/assets`; run from the repository's root, not installed."""
