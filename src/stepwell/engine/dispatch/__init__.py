"""Which step starts next: slots, rate limits, the fair queue, circuit breakers."""
