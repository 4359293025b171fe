"""GEMINI and VERTEX: the Gemini API by a key, and Vertex AI by a service account."""
