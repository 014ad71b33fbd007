"""
One run, from the lock to the summary. Nothing else does a run.
"""
