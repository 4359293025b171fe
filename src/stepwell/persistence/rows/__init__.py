"""The conversion between the domain's structs and rows, and the statements of the engine."""
