"""Providers for tests: scripted ones, and the real ones with their emulators."""
