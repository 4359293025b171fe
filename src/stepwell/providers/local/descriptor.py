"""The descriptor of LOCAL."""

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.provider_descriptors import ORDINARY_TASKS, OutputNames, ProviderDescriptor
from stepwell.providers.shared.output_names import IMAGE, SEED, VIDEO
from stepwell.runtime.memory import default_local_max_bytes, default_max_bytes
from stepwell.settings import Settings


def local_memory(settings: Settings) -> int:
    """Return the bytes that LOCAL's worker processes may use together."""
    configured = settings.local_memory_max_bytes
    return configured or default_local_max_bytes(settings.memory_max_bytes or default_max_bytes())


LOCAL = ProviderDescriptor(
    name=ProviderType.LOCAL,
    build="stepwell.providers.local.provider:build",
    members=frozenset(),
    outputs=OutputNames(
        image=IMAGE | SEED,
        video=VIDEO | SEED | {"fps", "frames", "duration_s", "motion"},
        text=frozenset(),
        more={
            TaskType.GENERATION: frozenset({"result_image_paths"}),
            TaskType.EDITING: frozenset({"prompt"}),
            TaskType.REFINE: frozenset({"upscale_factor"}),
        },
    ),
    task_types=ORDINARY_TASKS - {TaskType.LLM_INTERACTION},
)
