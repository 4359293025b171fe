"""Errors, tenants, URLs, data URIs and values of settings, which every layer may use. Nothing here does I/O."""
