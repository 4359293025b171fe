"""Chromium, driven by Playwright, and the web page in it."""
