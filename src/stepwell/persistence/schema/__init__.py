"""Migrations, indexes, and the start-up that waits for a database and migrates it. `tables` lists all tables."""
