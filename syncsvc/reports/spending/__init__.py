"""
Reports about money: what numbers cost, which charges changed, what the invoice should say.
"""
