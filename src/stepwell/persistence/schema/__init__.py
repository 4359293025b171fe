"""The tables, their migrations, and the start-up that waits for a database and migrates it."""
