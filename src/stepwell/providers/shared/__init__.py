"""Code that several providers share: API calls, credentials, submit outcomes, refusals, and images."""
