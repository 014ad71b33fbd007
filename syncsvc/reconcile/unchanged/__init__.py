"""
What lets a run skip rows and pages of the listing that are as they were.
"""
