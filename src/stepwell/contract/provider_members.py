"""The members of `provider_config`: those that every provider reads, and those that belong to some providers."""

from collections.abc import Mapping

from stepwell.contract.enums import ProviderType

SHARED_MEMBERS = frozenset({"provider_type", "credential", "on_unknown"})

# LOCAL has none of its own. CUSTOM isn't here: it takes members of any name.
OWN_MEMBERS: Mapping[ProviderType, frozenset[str]] = {
    ProviderType.LOCAL: frozenset(),
    ProviderType.FAL: frozenset({"fal_app_id", "loras"}),
    ProviderType.REPLICATE: frozenset({"model", "deployment", "parameters", "loras", "cancel_after_s"}),
    ProviderType.OPENAI: frozenset({"model", "parameters"}),
    ProviderType.GEMINI: frozenset({"model", "parameters"}),
    ProviderType.VERTEX: frozenset({"model", "parameters", "location"}),
    ProviderType.COMFYUI: frozenset({"graph", "inputs", "output", "model"}),
}


def members_read_by(provider: ProviderType) -> frozenset[str]:
    """Return all members that *provider* reads. Raises KeyError for CUSTOM."""
    return SHARED_MEMBERS | OWN_MEMBERS[provider]
