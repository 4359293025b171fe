"""The state machine of a workflow: inputs go in, decisions come out."""
