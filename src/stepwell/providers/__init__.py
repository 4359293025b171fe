"""The providers: one package each. `factory` builds them, `registry` finds them, `shared` is their common code.

A provider implements `ports.providers.InProcessProvider` or `ports.providers.RemoteProvider`. A new built-in one also
needs a member of `contract.enums.ProviderType`, its settings, and a line in `factory`.

LOCAL's child processes import this package as well, so nothing is imported here.
"""
