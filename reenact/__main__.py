"""Runs the command line by `python -m reenact`, where no folder of scripts is in the path."""

from reenact.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
