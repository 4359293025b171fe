"""OpenAI, and whatever else speaks its API."""
