"""The conversion between the domain's structs and rows, and `journal_sql`, the statements of the engine."""
