"""PostgreSQL servers, databases and stored workflows for tests."""
