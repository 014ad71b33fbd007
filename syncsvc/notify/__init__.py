"""
Webhooks: what the history says, sent to others, signed and in order.
"""
