"""
Hand out the accounts that are due, with a task engine on the database that is there.
"""
