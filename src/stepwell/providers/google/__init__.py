"""Google: the Gemini API for a key, Vertex AI for service accounts, with the same bodies and answers."""
