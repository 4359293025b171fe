"""CUSTOM: a worker of the user's own that speaks Stepwell's signed HTTP protocol."""
