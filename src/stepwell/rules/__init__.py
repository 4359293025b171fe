"""The rules that belong to no workflow alone: explain, plan, prices, limits, and what the service signs.

Time, jitter and ids arrive as arguments. No module of this package awaits, logs, reads a clock or touches a file.
"""
