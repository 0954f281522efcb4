"""The command line: its parsers, and what each command does.

Arguments come in; text, files and an exit code go out.
"""
