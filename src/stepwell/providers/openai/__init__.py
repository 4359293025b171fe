"""OPENAI: OpenAI, and other servers with its API."""
