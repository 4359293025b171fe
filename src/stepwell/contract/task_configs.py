"""The config fields that Stepwell knows, by task type: their kinds, ranges and defaults.

Fields that are not named here pass through to the provider. A null member counts as absent.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field

from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.fields import about

Prompt: TypeAlias = Annotated[str, Meta(min_length=1, max_length=20_000)]

_REFERENCE = "An artifact path, an http(s) URL or a data URI"

Reference: TypeAlias = Annotated[str, Meta(min_length=1, description=_REFERENCE)]

References: TypeAlias = Annotated[list[Reference], Meta(max_length=64)]

Side: TypeAlias = Annotated[int, Meta(ge=1, le=8192, description="In pixels")]

Offset: TypeAlias = Annotated[int, Meta(ge=-1_000_000, le=1_000_000, description="In pixels")]

Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]

Level: TypeAlias = Annotated[float, Meta(ge=0, le=10, description="1 leaves the image as it is")]

Sharpness: TypeAlias = Annotated[float, Meta(ge=0, le=10)]

Tolerance: TypeAlias = Annotated[
    float, Meta(ge=0, le=255, description="The distance of two colours, in steps of 8-bit channels")
]

Colour: TypeAlias = Annotated[
    str,
    Meta(
        max_length=32,
        pattern=r"^(#([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})|[A-Za-z]+)(?!\n)$",
        description="#rgb, #rrggbb, #rrggbbaa or a CSS name",
    ),
]

Crop: TypeAlias = Annotated[
    list[Annotated[int, Meta(ge=0)]],
    Meta(min_length=4, max_length=4, description="[left, top, right, bottom] in pixels of the base image"),
]

Motion: TypeAlias = Literal["zoom_in", "zoom_out", "pan_left", "pan_right", "pan_up", "pan_down"]


class StepConfig(Struct, frozen=True, kw_only=True):
    """The members that steps of every type have: none. It is the base of all configs."""


class TaskConfig(StepConfig, frozen=True, kw_only=True):
    """The members that steps of every type with attempts have."""

    timeout_s: Annotated[
        float, Meta(gt=0, le=86_400, description="Time limit of one attempt, in seconds; not sent to providers")
    ] = 600.0


MAX_IMAGES = 8  # of one attempt


class GenerationConfig(TaskConfig, frozen=True, kw_only=True):
    prompt: Prompt | None = None
    negative_prompt: Annotated[str, Meta(max_length=20_000)] | None = None
    width: Side = 1024
    height: Side = 1024
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    num_images: Annotated[int, Meta(ge=1, le=MAX_IMAGES)] = 1
    subject_lora_weight: Fraction | None = None
    product_lora_weight: Fraction | None = None
    product2_lora_weight: Fraction | None = None
    style_lora_weight: Fraction | None = None
    reference_image_url: Reference | None = None
    reference_image_strength: Fraction | None = None


class EditingConfig(TaskConfig, frozen=True, kw_only=True):
    base_image_url: Reference | None = None
    prompt: Prompt | None = None
    reference_image_urls: References | None = None
    mask_image_url: Reference | None = None
    overlay_image_url: Reference | None = None
    x: Offset = 0
    y: Offset = 0
    scale: Annotated[float, Meta(gt=0, le=16)] = 1.0
    opacity: Fraction = 1.0
    crop: Crop | None = None
    rotate: Annotated[float, Meta(ge=-360, le=360, description="In degrees counter-clockwise")] = 0.0
    width: Side | None = None
    height: Side | None = None


class RefineConfig(TaskConfig, frozen=True, kw_only=True):
    base_image_url: Reference | None = None
    upscale_factor: Annotated[float, Meta(ge=1, le=8)] = 2.0
    sharpness: Sharpness | None = None
    denoise: Fraction | None = None
    prompt: Prompt | None = None


class VideoConfig(TaskConfig, frozen=True, kw_only=True):
    base_image_url: Reference | None = None
    prompt: Prompt | None = None
    duration_s: Annotated[float, Meta(gt=0, le=60, description="In seconds")] = 4.0
    fps: Annotated[int, Meta(ge=1, le=60, description="Frames per second")] = 12
    width: Side | None = None
    height: Side | None = None
    motion: Motion | None = None


class BackgroundFixConfig(TaskConfig, frozen=True, kw_only=True):
    base_image_url: Reference | None = None
    background_color: Colour | None = None
    background_image_url: Reference | None = None
    prompt: Prompt | None = None
    tolerance: Tolerance | None = None


class EnhancerConfig(TaskConfig, frozen=True, kw_only=True):
    base_image_url: Reference | None = None
    strength: Fraction | None = None
    radius: Annotated[float, Meta(ge=0, le=100, description="In pixels")] | None = None


class AdjusterConfig(TaskConfig, frozen=True, kw_only=True):
    base_image_url: Reference | None = None
    exposure: Annotated[float, Meta(ge=-10, le=10, description="In EV")] = 0.0
    brightness: Level = 1.0
    contrast: Level = 1.0
    saturation: Level = 1.0
    temperature: Annotated[float, Meta(ge=-100, le=100, description="-100 is colder, 100 is warmer")] = 0.0
    gamma: Annotated[float, Meta(gt=0, le=10)] = 1.0
    sharpness: Sharpness = 1.0


class BackgroundRemoveConfig(TaskConfig, frozen=True, kw_only=True):
    base_image_url: Reference | None = None
    tolerance: Tolerance | None = None
    feather: Annotated[float, Meta(ge=0, le=100, description="In pixels")] | None = None


class LlmConfig(TaskConfig, frozen=True, kw_only=True):
    prompt: Prompt | None = None
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=1000)] | None = None
    system_prompt: Annotated[str, Meta(max_length=100_000)] | None = None
    json_schema: dict[str, Any] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    image_urls: References | None = None


class FalConfig(TaskConfig, frozen=True, kw_only=True):
    arguments: dict[str, Any] | None = None


MAX_WAIT_S = 31_536_000  # a year

WaitTimeout: TypeAlias = Annotated[
    float, Meta(gt=0, le=MAX_WAIT_S, description="How long the step waits, in seconds; without it, without limit")
]

Choice: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]*(?!\n)$")  # as of StepId
]

APPROVE, REJECT, FAIL, CONTINUE = "approve", "reject", "fail", "continue"


class ApprovalConfig(StepConfig, frozen=True, kw_only=True):
    message: Annotated[str, Meta(max_length=10_000, description="What people read who decide")] | None = None
    choices: Annotated[
        list[Choice],
        Meta(min_length=1, max_length=50, description='Default ["approve", "reject"]'),
    ] = field(default_factory=lambda: [APPROVE, REJECT])
    timeout_s: WaitTimeout | None = None
    on_timeout: Annotated[
        str, Meta(max_length=100, description='After timeout_s: the choice that is taken, or "fail"')
    ] = FAIL
    on_reject: Annotated[Literal["fail", "continue"], about('Whether the choice "reject" fails the step')] = "fail"


SignalName: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*(?!\n)$",
        description="The name in the path of the signal; default is the step's id",
    ),
]


class SignalConfig(StepConfig, frozen=True, kw_only=True):
    name: SignalName | None = None
    timeout_s: WaitTimeout | None = None
    on_timeout: Annotated[
        Literal["fail", "continue"], about("After timeout_s: whether the step fails or has no data")
    ] = "fail"


WaitEnd: TypeAlias = Annotated[
    str,
    Meta(
        max_length=64, description="When the wait ends, as 2026-11-27T18:00:00Z. A time that has passed ends it at once"
    ),
]


class DelayConfig(StepConfig, frozen=True, kw_only=True):
    """A definition sets one of the two members."""

    seconds: Annotated[float, Meta(gt=0, le=MAX_WAIT_S, description="How long the step waits")] | None = None
    until: WaitEnd | None = None


class SubworkflowConfig(StepConfig, frozen=True, kw_only=True):
    workflow: Annotated[
        dict[str, Any] | None,
        about(
            "The definition of the sub-workflow, as the body of a create without its origin_* members. "
            "Expressions in it are evaluated by the sub-workflow"
        ),
    ] = None
    definition: Annotated[
        DefinitionReference | None, about("The stored definition of the sub-workflow, instead of workflow")
    ] = None
    inputs: Annotated[
        dict[str, Any] | None, about("Members of the sub-workflow's inputs, instead of those that its definition has")
    ] = None


class ProviderConfig(Struct, frozen=True, kw_only=True):
    """The members of `provider_config` that Stepwell knows. `credential` names one that the settings hold."""

    provider_type: ProviderType | None = None
    credential: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    on_unknown: Literal["fail", "resubmit"] | None = None
    fal_app_id: Annotated[str, Meta(max_length=200, pattern=r"^\w[\w.-]*(/\w[\w.-]*)+(?!\n)$")] | None = None


class TaskKind(Struct, frozen=True):
    """The config, the inputs and the output of a task type.

    `config` is the struct of the members that Stepwell knows. A step needs at least one of `inputs`, unless that is
    empty. `output` is the kind of its results; None if they are free-form.
    """

    config: type[StepConfig]
    inputs: tuple[str, ...] = ("base_image_url",)
    output: Literal["image", "video", "text"] | None = "image"


TASK_TYPES: Mapping[TaskType, TaskKind] = {
    TaskType.GENERATION: TaskKind(GenerationConfig, ("prompt",)),
    TaskType.EDITING: TaskKind(EditingConfig),
    TaskType.REFINE: TaskKind(RefineConfig),
    TaskType.VIDEO_GENERATION: TaskKind(VideoConfig, output="video"),
    TaskType.BACKGROUND_FIX: TaskKind(BackgroundFixConfig),
    TaskType.FACE_ENHANCER: TaskKind(EnhancerConfig),
    TaskType.IMAGE_ADJUSTER: TaskKind(AdjusterConfig),
    TaskType.DETAIL_ENHANCER: TaskKind(EnhancerConfig),
    TaskType.BACKGROUND_REMOVE: TaskKind(BackgroundRemoveConfig),
    TaskType.LLM_INTERACTION: TaskKind(LlmConfig, ("prompt", "messages"), "text"),
    TaskType.EXPERIMENTAL_FAL: TaskKind(FalConfig, (), None),
    TaskType.PASSTHROUGH: TaskKind(TaskConfig, (), None),
    TaskType.APPROVAL: TaskKind(ApprovalConfig, (), None),
    TaskType.SIGNAL: TaskKind(SignalConfig, (), None),
    TaskType.DELAY: TaskKind(DelayConfig, (), None),
    TaskType.SUBWORKFLOW: TaskKind(SubworkflowConfig, (), None),
}
CONFIGS: Mapping[TaskType, type[StepConfig]] = {name: kind.config for name, kind in TASK_TYPES.items()}
