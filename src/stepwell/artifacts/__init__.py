"""The store of output files: `paths` says what a path may be, `store` keeps files, `disk` makes them last."""
