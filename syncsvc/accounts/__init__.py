"""
The accounts of a fleet: their rows, settings and secrets.
"""
