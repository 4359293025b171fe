"""What the commands over the API show: structs of the contract as tables, trees and lines for a terminal.

Everything here is pure: times come in as arguments, and nothing is printed.
"""
