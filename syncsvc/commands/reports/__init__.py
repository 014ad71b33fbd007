"""
`syncsvc report`: describe the reports, and write the rows of one.
"""
