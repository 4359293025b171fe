"""Strict JSON: decoding, faults with their places, canonical form, and size."""
