"""The SQL of checkpoints, and the conversion between the domain's structs and rows."""
