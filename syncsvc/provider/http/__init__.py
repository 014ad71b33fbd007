"""
One HTTP request and its response, within a deadline, through the environment's proxy.
"""
