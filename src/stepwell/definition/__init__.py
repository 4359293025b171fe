"""From JSON to a validated definition: `validation` says what is refused, and `mapping` evaluates expressions."""
