"""Admission control: slots, rate limits, the fair queue, and the circuit breakers of models."""
