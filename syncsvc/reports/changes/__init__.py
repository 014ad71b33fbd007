"""
Reports about what happens to numbers, from the order to a cancellation that is withheld.
"""
