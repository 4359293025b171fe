"""The rules of the product, and nothing else.

Nothing below this package awaits, logs, reads a clock, draws a random number or touches a file: time, jitter and
ids arrive as arguments. Read `model` for the words, `definition` for what a client posts, `validation` for what is
refused, and `lifecycle` for every change of status there is.
"""
