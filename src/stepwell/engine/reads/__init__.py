"""The reads that the API offers, and what equal reads share."""
