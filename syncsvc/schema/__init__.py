"""
Tables, views and what each column means. All that migrations import.
"""
