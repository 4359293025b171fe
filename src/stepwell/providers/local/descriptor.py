"""The descriptor of LOCAL."""

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.provider_descriptors import ORDINARY_TASKS, OutputNames, ProviderDescriptor
from stepwell.providers.shared.output_names import IMAGE, SEED, VIDEO

LOCAL = ProviderDescriptor(
    name=ProviderType.LOCAL,
    build="stepwell.providers.local.provider:build",
    members=frozenset(),
    version="1",  # of the renderer: change it if equal inputs give another picture
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
