"""
What lets a run pass over rows and pages of the listing that are as they were.
"""
