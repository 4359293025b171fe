"""What comes in: the operations, query parameters, headers and bodies, and the resources that a request uses."""
