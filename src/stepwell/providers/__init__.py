"""The providers: one package each. `installed` lists them, `factory` builds them, `registry` finds them, `shared` is
their common code.

A provider implements `ports.providers.InProcessProvider` or `ports.providers.RemoteProvider`, and its folder has a
`ProviderDescriptor`. A new built-in one also needs an entry in `installed`.

LOCAL's child processes import this package as well, so nothing is imported here.
"""
