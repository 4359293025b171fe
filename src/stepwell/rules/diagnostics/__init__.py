"""The algorithms of explain and plan. The structs of their answers are in `contract`."""
