"""
What operators do to the database: migrate it, grant access, prune it, rehearse a run.
"""
