"""Stand-ins for the engine in tests of the API alone."""
