"""
The plan written to the tables: what changed, column by column, and how much of it.
"""
