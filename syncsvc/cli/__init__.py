"""
The command line: one function per command, flags and exit codes.

What a command needs is imported when it runs, so that `--help` and `--version` answer at once.
"""
