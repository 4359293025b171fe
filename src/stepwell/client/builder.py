"""Builds the definition of a workflow, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

from stepwell.client.built_steps import (
    BuiltDefinition,
    BuiltStep,
    Definition,
    File,
    Files,
    ImageStep,
    StepList,
    StepOptions,
    TextStep,
    Value,
    VideoStep,
    without_none,
    without_uploads,
)
from stepwell.contract.enums import TaskType

# The parameters that the API knows by other names.
_FILES = {
    "background_image": "background_image_url",
    "base_image": "base_image_url",
    "images": "image_urls",
    "mask_image": "mask_image_url",
    "overlay_image": "overlay_image_url",
    "reference_image": "reference_image_url",
    "reference_images": "reference_image_urls",
}
_ORIGIN = ("origin_instance", "origin_zone", "origin_tenant_id", "origin_reference")


def _config(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs among the *parameters* of a method, by the names of the API."""
    return {_FILES.get(name, name): value for name, value in parameters.items() if name not in ("self", "options")}


class Workflow(BuiltDefinition):
    """The definition of a workflow that is being built, with a method for each task type.

    Each method adds a step and returns it. Its parameters are the inputs of the type, without the `_url` of
    the API's names, and the `StepOptions`. An input may be an output of another step, or an `Expression`.
    """

    def __init__(
        self,
        name: str,
        *,
        origin_instance: str | None = None,
        description: str | None = None,
        config: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        inputs_schema: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
        suppress_subtask_events: bool | None = None,
        origin_zone: str | None = None,
        origin_tenant_id: str | None = None,
        origin_reference: str | None = None,
    ) -> None:
        members = {
            "name": name,
            "origin_instance": origin_instance,
            "description": description,
            "config": None if config is None else dict(config),
            "inputs": None if inputs is None else without_uploads(inputs, "inputs", evaluated=False),
            "inputs_schema": None if inputs_schema is None else dict(inputs_schema),
            "labels": None if labels is None else dict(labels),
            "webhook_url": webhook_url,
            "suppress_subtask_events": suppress_subtask_events,
            "origin_zone": origin_zone,
            "origin_tenant_id": origin_tenant_id,
            "origin_reference": origin_reference,
        }
        self._members = without_none(members)
        self._steps = StepList(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._members['name']!r}, {len(self._steps)} steps)"

    def definition(self) -> dict[str, Any]:
        """Return the definition, as the API takes it."""
        return {**self._members, "steps": self._steps.definitions()}

    def nested_definition(self) -> dict[str, Any]:
        """Return the definition as that of a sub-workflow, which has the origin of its parent."""
        return {name: value for name, value in self.definition().items() if name not in _ORIGIN}

    def step(self, task_type: TaskType | str, config: Mapping[str, Any], options: StepOptions) -> BuiltStep:
        """Add a step of any type. *config* has its inputs by the names of the API; they may be outputs of steps."""
        return BuiltStep(self._steps.add(task_type, config, options), self)

    # The methods below are generated from the contract by `poe generate`: don't change them.

    def generation(
        self,
        *,
        prompt: str | Value,
        negative_prompt: str | Value | None = None,
        width: int | Value | None = None,
        height: int | Value | None = None,
        seed: int | Value | None = None,
        num_images: int | Value | None = None,
        subject_lora_weight: float | Value | None = None,
        product_lora_weight: float | Value | None = None,
        product2_lora_weight: float | Value | None = None,
        style_lora_weight: float | Value | None = None,
        reference_image: File | None = None,
        reference_image_strength: float | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type GENERATION."""
        return ImageStep(self._steps.add(TaskType.GENERATION, _config(locals()), options), self)

    def editing(
        self,
        *,
        base_image: File,
        prompt: str | Value | None = None,
        reference_images: Files | None = None,
        mask_image: File | None = None,
        overlay_image: File | None = None,
        x: int | Value | None = None,
        y: int | Value | None = None,
        scale: float | Value | None = None,
        opacity: float | Value | None = None,
        crop: Sequence[int] | Value | None = None,
        rotate: float | Value | None = None,
        width: int | Value | None = None,
        height: int | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type EDITING."""
        return ImageStep(self._steps.add(TaskType.EDITING, _config(locals()), options), self)

    def refine(
        self,
        *,
        base_image: File,
        upscale_factor: float | Value | None = None,
        sharpness: float | Value | None = None,
        denoise: float | Value | None = None,
        prompt: str | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type REFINE."""
        return ImageStep(self._steps.add(TaskType.REFINE, _config(locals()), options), self)

    def video_generation(
        self,
        *,
        base_image: File,
        prompt: str | Value | None = None,
        duration_s: float | Value | None = None,
        fps: int | Value | None = None,
        width: int | Value | None = None,
        height: int | Value | None = None,
        motion: Literal["zoom_in", "zoom_out", "pan_left", "pan_right", "pan_up", "pan_down"] | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> VideoStep:
        """Add a step of the type VIDEO_GENERATION."""
        return VideoStep(self._steps.add(TaskType.VIDEO_GENERATION, _config(locals()), options), self)

    def background_fix(
        self,
        *,
        base_image: File,
        background_color: str | Value | None = None,
        background_image: File | None = None,
        prompt: str | Value | None = None,
        tolerance: float | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type BACKGROUND_FIX."""
        return ImageStep(self._steps.add(TaskType.BACKGROUND_FIX, _config(locals()), options), self)

    def face_enhancer(
        self,
        *,
        base_image: File,
        strength: float | Value | None = None,
        radius: float | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type FACE_ENHANCER."""
        return ImageStep(self._steps.add(TaskType.FACE_ENHANCER, _config(locals()), options), self)

    def image_adjuster(
        self,
        *,
        base_image: File,
        exposure: float | Value | None = None,
        brightness: float | Value | None = None,
        contrast: float | Value | None = None,
        saturation: float | Value | None = None,
        temperature: float | Value | None = None,
        gamma: float | Value | None = None,
        sharpness: float | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type IMAGE_ADJUSTER."""
        return ImageStep(self._steps.add(TaskType.IMAGE_ADJUSTER, _config(locals()), options), self)

    def detail_enhancer(
        self,
        *,
        base_image: File,
        strength: float | Value | None = None,
        radius: float | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type DETAIL_ENHANCER."""
        return ImageStep(self._steps.add(TaskType.DETAIL_ENHANCER, _config(locals()), options), self)

    def background_remove(
        self,
        *,
        base_image: File,
        tolerance: float | Value | None = None,
        feather: float | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type BACKGROUND_REMOVE."""
        return ImageStep(self._steps.add(TaskType.BACKGROUND_REMOVE, _config(locals()), options), self)

    def llm_interaction(
        self,
        *,
        prompt: str | Value | None = None,
        messages: Sequence[Mapping[str, Any]] | Value | None = None,
        system_prompt: str | Value | None = None,
        json_schema: Mapping[str, Any] | Value | None = None,
        temperature: float | Value | None = None,
        max_tokens: int | Value | None = None,
        images: Files | None = None,
        **options: Unpack[StepOptions],
    ) -> TextStep:
        """Add a step of the type LLM_INTERACTION. It needs *prompt* or *messages*."""
        return TextStep(self._steps.add(TaskType.LLM_INTERACTION, _config(locals()), options), self)

    def experimental_fal(
        self, *, arguments: Mapping[str, Any] | Value | None = None, **options: Unpack[StepOptions]
    ) -> BuiltStep:
        """Add a step of the type EXPERIMENTAL_FAL."""
        return BuiltStep(self._steps.add(TaskType.EXPERIMENTAL_FAL, _config(locals()), options), self)

    def passthrough(self, **options: Unpack[StepOptions]) -> BuiltStep:
        """Add a step of the type PASSTHROUGH."""
        return BuiltStep(self._steps.add(TaskType.PASSTHROUGH, _config(locals()), options), self)

    def approval(
        self,
        *,
        message: str | Value | None = None,
        choices: Sequence[str] | Value | None = None,
        on_timeout: str | Value | None = None,
        on_reject: Literal["fail", "continue"] | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> BuiltStep:
        """Add a step of the type APPROVAL."""
        return BuiltStep(self._steps.add(TaskType.APPROVAL, _config(locals()), options), self)

    def signal(
        self,
        *,
        name: str | Value | None = None,
        on_timeout: Literal["fail", "continue"] | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> BuiltStep:
        """Add a step of the type SIGNAL."""
        return BuiltStep(self._steps.add(TaskType.SIGNAL, _config(locals()), options), self)

    def delay(
        self, *, seconds: float | Value | None = None, until: str | Value | None = None, **options: Unpack[StepOptions]
    ) -> BuiltStep:
        """Add a step of the type DELAY."""
        return BuiltStep(self._steps.add(TaskType.DELAY, _config(locals()), options), self)

    def subworkflow(
        self,
        *,
        workflow: Definition | None = None,
        definition: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | Value | None = None,
        **options: Unpack[StepOptions],
    ) -> BuiltStep:
        """Add a step of the type SUBWORKFLOW."""
        return BuiltStep(self._steps.add(TaskType.SUBWORKFLOW, _config(locals()), options), self)
