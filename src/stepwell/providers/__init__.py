"""The providers: one package each. `shared` is their common code.

`installed_providers` lists them, `factory` builds them, `registry` finds them.

A provider implements `ports.providers.InProcessProvider` or `ports.providers.RemoteProvider`, and its folder has a
`ProviderDescriptor`. A new built-in one also needs an entry in `installed_providers`.

LOCAL's child processes import this package as well, so nothing is imported here.
"""
