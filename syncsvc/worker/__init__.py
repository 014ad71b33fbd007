"""
`syncsvc run`: schedule, leader, one run after the other, health endpoints.
"""
