"""
Reach the database, lock it, migrate it, read from it, prune it.
"""
