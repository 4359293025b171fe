"""Cleanups: the runner that deletes the files of deleted workflows, and the turns that its passes take."""
