"""
Many accounts on many workers: who runs next, the task engine, and a worker's part in it.
"""
