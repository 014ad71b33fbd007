"""
`syncsvc accounts`: add, change, list and remove the accounts of a fleet.
"""
