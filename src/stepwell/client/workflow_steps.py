"""The builder's methods, one for each type of task. Generated from the contract: don't change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

from stepwell.client.builder import (
    BuiltStep,
    File,
    Files,
    ImageStep,
    StepOptions,
    StepValue,
    TextStep,
    VideoStep,
    WorkflowBuilder,
)
from stepwell.contract.enums import TaskType


class Workflow(WorkflowBuilder):
    """The definition of a workflow that is being built, with a method for each type of task.

    Each method adds a step and returns it. Its parameters are the inputs of the type, without the `_url` of
    the API's names, and the `StepOptions`. An input may be an output of another step.
    """

    def generation(
        self,
        *,
        prompt: str | StepValue,
        negative_prompt: str | StepValue | None = None,
        width: int | StepValue | None = None,
        height: int | StepValue | None = None,
        seed: int | StepValue | None = None,
        num_images: int | StepValue | None = None,
        subject_lora_weight: float | StepValue | None = None,
        product_lora_weight: float | StepValue | None = None,
        product2_lora_weight: float | StepValue | None = None,
        style_lora_weight: float | StepValue | None = None,
        reference_image: File | None = None,
        reference_image_strength: float | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type GENERATION."""
        inputs: dict[str, Any] = {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "width": width,
            "height": height,
            "seed": seed,
            "num_images": num_images,
            "subject_lora_weight": subject_lora_weight,
            "product_lora_weight": product_lora_weight,
            "product2_lora_weight": product2_lora_weight,
            "style_lora_weight": style_lora_weight,
            "reference_image_url": reference_image,
            "reference_image_strength": reference_image_strength,
        }
        return ImageStep(self._add(TaskType.GENERATION, inputs, options), self)

    def editing(
        self,
        *,
        base_image: File,
        prompt: str | StepValue | None = None,
        reference_images: Files | None = None,
        mask_image: File | None = None,
        overlay_image: File | None = None,
        x: int | StepValue | None = None,
        y: int | StepValue | None = None,
        scale: float | StepValue | None = None,
        opacity: float | StepValue | None = None,
        crop: Sequence[int] | StepValue | None = None,
        rotate: float | StepValue | None = None,
        width: int | StepValue | None = None,
        height: int | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type EDITING."""
        inputs: dict[str, Any] = {
            "base_image_url": base_image,
            "prompt": prompt,
            "reference_image_urls": reference_images,
            "mask_image_url": mask_image,
            "overlay_image_url": overlay_image,
            "x": x,
            "y": y,
            "scale": scale,
            "opacity": opacity,
            "crop": crop,
            "rotate": rotate,
            "width": width,
            "height": height,
        }
        return ImageStep(self._add(TaskType.EDITING, inputs, options), self)

    def refine(
        self,
        *,
        base_image: File,
        upscale_factor: float | StepValue | None = None,
        sharpness: float | StepValue | None = None,
        denoise: float | StepValue | None = None,
        prompt: str | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type REFINE."""
        inputs: dict[str, Any] = {
            "base_image_url": base_image,
            "upscale_factor": upscale_factor,
            "sharpness": sharpness,
            "denoise": denoise,
            "prompt": prompt,
        }
        return ImageStep(self._add(TaskType.REFINE, inputs, options), self)

    def video_generation(
        self,
        *,
        base_image: File,
        prompt: str | StepValue | None = None,
        duration_s: float | StepValue | None = None,
        fps: int | StepValue | None = None,
        width: int | StepValue | None = None,
        height: int | StepValue | None = None,
        motion: Literal["zoom_in", "zoom_out", "pan_left", "pan_right", "pan_up", "pan_down"] | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> VideoStep:
        """Add a step of the type VIDEO_GENERATION."""
        inputs: dict[str, Any] = {
            "base_image_url": base_image,
            "prompt": prompt,
            "duration_s": duration_s,
            "fps": fps,
            "width": width,
            "height": height,
            "motion": motion,
        }
        return VideoStep(self._add(TaskType.VIDEO_GENERATION, inputs, options), self)

    def background_fix(
        self,
        *,
        base_image: File,
        background_color: str | StepValue | None = None,
        background_image: File | None = None,
        prompt: str | StepValue | None = None,
        tolerance: float | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type BACKGROUND_FIX."""
        inputs: dict[str, Any] = {
            "base_image_url": base_image,
            "background_color": background_color,
            "background_image_url": background_image,
            "prompt": prompt,
            "tolerance": tolerance,
        }
        return ImageStep(self._add(TaskType.BACKGROUND_FIX, inputs, options), self)

    def face_enhancer(
        self,
        *,
        base_image: File,
        strength: float | StepValue | None = None,
        radius: float | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type FACE_ENHANCER."""
        inputs: dict[str, Any] = {"base_image_url": base_image, "strength": strength, "radius": radius}
        return ImageStep(self._add(TaskType.FACE_ENHANCER, inputs, options), self)

    def image_adjuster(
        self,
        *,
        base_image: File,
        exposure: float | StepValue | None = None,
        brightness: float | StepValue | None = None,
        contrast: float | StepValue | None = None,
        saturation: float | StepValue | None = None,
        temperature: float | StepValue | None = None,
        gamma: float | StepValue | None = None,
        sharpness: float | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type IMAGE_ADJUSTER."""
        inputs: dict[str, Any] = {
            "base_image_url": base_image,
            "exposure": exposure,
            "brightness": brightness,
            "contrast": contrast,
            "saturation": saturation,
            "temperature": temperature,
            "gamma": gamma,
            "sharpness": sharpness,
        }
        return ImageStep(self._add(TaskType.IMAGE_ADJUSTER, inputs, options), self)

    def detail_enhancer(
        self,
        *,
        base_image: File,
        strength: float | StepValue | None = None,
        radius: float | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type DETAIL_ENHANCER."""
        inputs: dict[str, Any] = {"base_image_url": base_image, "strength": strength, "radius": radius}
        return ImageStep(self._add(TaskType.DETAIL_ENHANCER, inputs, options), self)

    def background_remove(
        self,
        *,
        base_image: File,
        tolerance: float | StepValue | None = None,
        feather: float | StepValue | None = None,
        **options: Unpack[StepOptions],
    ) -> ImageStep:
        """Add a step of the type BACKGROUND_REMOVE."""
        inputs: dict[str, Any] = {"base_image_url": base_image, "tolerance": tolerance, "feather": feather}
        return ImageStep(self._add(TaskType.BACKGROUND_REMOVE, inputs, options), self)

    def llm_interaction(
        self,
        *,
        prompt: str | StepValue | None = None,
        messages: Sequence[Mapping[str, Any]] | StepValue | None = None,
        system_prompt: str | StepValue | None = None,
        json_schema: Mapping[str, Any] | StepValue | None = None,
        temperature: float | StepValue | None = None,
        max_tokens: int | StepValue | None = None,
        images: Files | None = None,
        **options: Unpack[StepOptions],
    ) -> TextStep:
        """Add a step of the type LLM_INTERACTION. It needs *prompt* or *messages*."""
        inputs: dict[str, Any] = {
            "prompt": prompt,
            "messages": messages,
            "system_prompt": system_prompt,
            "json_schema": json_schema,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "image_urls": images,
        }
        return TextStep(self._add(TaskType.LLM_INTERACTION, inputs, options), self)

    def experimental_fal(
        self, *, arguments: Mapping[str, Any] | StepValue | None = None, **options: Unpack[StepOptions]
    ) -> BuiltStep:
        """Add a step of the type EXPERIMENTAL_FAL."""
        inputs: dict[str, Any] = {"arguments": arguments}
        return BuiltStep(self._add(TaskType.EXPERIMENTAL_FAL, inputs, options), self)

    def passthrough(self, **options: Unpack[StepOptions]) -> BuiltStep:
        """Add a step of the type PASSTHROUGH."""
        inputs: dict[str, Any] = {}
        return BuiltStep(self._add(TaskType.PASSTHROUGH, inputs, options), self)
