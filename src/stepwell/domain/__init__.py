"""The rules of the product, and nothing else.

No module of this package awaits, logs, reads a clock, draws a random number or touches a file: time, jitter and ids
arrive as arguments. `contract.enums` has the words of the product, and `contract.definition` what a client posts. Here,
`validation` says what is refused, `lifecycle` holds every change of status, and `model` the state that changes.
"""
