"""The displays of the commands over the API: structs of the contract as tables, trees and lines for a terminal.

Everything here is pure: times come in as arguments, and nothing is printed.
"""
