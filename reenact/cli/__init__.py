"""The command line: what can be typed, and what each command does.

Words come in; an exit code, text and files go out.
"""
