"""The validation of a workflow definition: its graph, its steps, and the rules of its providers."""
