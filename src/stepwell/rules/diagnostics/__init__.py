"""The algorithms of explain and plan. The structs of their results are in `contract`."""
