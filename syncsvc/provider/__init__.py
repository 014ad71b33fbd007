"""
The carrier's API: one page, all pages with the proof that they were all, one number.
"""
