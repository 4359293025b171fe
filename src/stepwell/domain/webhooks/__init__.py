"""The rules of webhooks: which events are sent, when, how often, and signed with which secret."""
