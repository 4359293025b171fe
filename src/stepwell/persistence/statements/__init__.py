"""The statements of the engine, and the encoding of their parameters."""
