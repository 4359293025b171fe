"""HTTP servers on loopback that behave like the providers' APIs, S3, and receivers of webhooks."""
