"""
The commands of the CLI, one function each.
"""
