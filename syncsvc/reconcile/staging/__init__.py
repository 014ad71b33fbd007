"""
A listing in temporary tables, without the rows that are known to be unchanged.
"""
