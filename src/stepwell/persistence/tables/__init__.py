"""The tables: a module for each, or for a few that belong together, with all that is known of their columns.

`column` has what these modules are made of. `stepwell.persistence.schema.tables` imports all of them.
"""
