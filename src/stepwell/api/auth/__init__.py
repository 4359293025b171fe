"""Who sends a request, and what they may do: tokens, sessions, signed URLs and tickets."""
