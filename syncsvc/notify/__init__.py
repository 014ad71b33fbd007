"""
Webhooks: the events of the history, sent to others, signed and in order.
"""
