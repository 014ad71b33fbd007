"""
The provider's JSON to records or rejects. Pure.
"""
