"""The embedded PostgreSQL server of `stepwell up`: its programs, its data folder and its process."""
