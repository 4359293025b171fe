"""The algorithms and answers of explain, plan and dry run, and the status of providers."""
