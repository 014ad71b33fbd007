"""
What a report is made of: parameters, columns, SQL for each dialect, totals.
"""
