"""
What a listing changes: stage it, judge what is missing, plan the difference, publish it.
"""
