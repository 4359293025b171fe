"""The default fal app of each task type, and fal's names for the input fields.

A field without an entry here is sent under its own name, and overrides a translated field of that name. So a step can
set every parameter of its app. The parameters of an app are at https://fal.ai/models/{app}/api.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, Literal

from msgspec import Struct, json

from stepwell.basics.errors import Fault
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import GenerationConfig, RefineConfig, VideoConfig
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.providers.fal.descriptor import FAL
from stepwell.providers.shared.refusals import collect_refusals, config_refusal, input_refusal

DEFAULT_LLM = "google/gemini-2.5-flash"  # fal's router has no default; its page shows this one

_LORAS = ("subject", "product", "product2", "style")
_LEAST_STRENGTH = 0.01  # fal refuses 0
_NAMESPACES = frozenset({"workflows", "comfy"})
_GENERATION, _REFINE, _VIDEO = GenerationConfig(), RefineConfig(), VideoConfig()

# Removes the fields that it translates from the inputs (which contain no None), and returns them by fal's names.
_Translate = Callable[[dict[str, Any]], dict[str, Any]]


class FalKind(Struct, frozen=True, kw_only=True):
    """The way in which fal does a task type.

    `variants` are pairs of an input and the app to use instead of `app` if the step has that input; the first match
    counts. All of them have the same owner and name, because the URLs of a job consist of these, and the inputs may be
    unknown when the URLs are built. `ignored` are inputs of the type that none of these apps has a parameter for.
    """

    app: str
    translate: _Translate
    output: Literal["image", "video", "text"] = "image"
    variants: tuple[tuple[str, str], ...] = ()
    seeded: bool = False
    ignored: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()


def app_of(task_type: TaskType, inputs: Mapping[str, Any], provider_config: Mapping[str, Any]) -> str:
    """Return the app for a step: its own, else the default. Raises `AttemptError` if there is none."""
    own = provider_config.get("fal_app_id")
    if own is not None:
        return str(own)
    kind = KINDS.get(task_type)
    if kind is None:
        raise config_refusal("fal_app_id", why=f"required, FAL has no app for {task_type}", word="missing")
    return next((app for field, app in kind.variants if inputs.get(field)), kind.app)


@cache
def known_members(task_type: TaskType, *, own_app: bool) -> StepMembers:
    """Return the members that FAL knows. An app of the step's own may use any input."""
    return StepMembers(
        inputs=frozenset({"arguments"}) if task_type is TaskType.EXPERIMENTAL_FAL else None,
        ignored=frozenset() if own_app or task_type not in KINDS else KINDS[task_type].ignored,
        config=FAL.config_members,
        outputs=FAL.outputs_of(task_type),
    )


def refusals(step: KnownStep) -> Iterator[Fault]:
    """Yield what `app_of` and `body_of` would refuse for any values of inputs that aren't known yet."""
    task_type, config, inputs = step.task_type, step.provider_config, step.inputs
    yield from collect_refusals(partial(app_of, task_type, inputs, config))
    if task_type in KINDS:
        yield from collect_refusals(partial(body_of, task_type, inputs, 0, config))


def root_of(app: str) -> str:
    """Return the part of *app* in the URLs of its jobs: namespace (if any), owner and name, without a path."""
    parts = app.split("/")
    return "/".join(parts[: 3 if parts[0] in _NAMESPACES else 2])


def body_of(
    task_type: TaskType, inputs: Mapping[str, Any], seed: int, provider_config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the request body. *inputs* contain no None, and fal can read their references. *seed* is the default seed.

    Raises `AttemptError` for a LoRA weight without a LoRA, and for messages that fal doesn't support.
    """
    kind, rest = KINDS[task_type], dict(inputs)
    loras = _loras(rest, provider_config)
    arguments = kind.translate(rest) | ({"seed": seed} if kind.seeded else {}) | rest
    return arguments | ({"loras": loras} if loras else {})


def _loras(rest: dict[str, Any], provider_config: Mapping[str, Any]) -> list[Any]:
    known = provider_config.get("loras")
    known = known if isinstance(known, Mapping) else {}
    own = rest.pop("loras", [])
    loras = list(own) if isinstance(own, list) else [own]
    for name in _LORAS:
        weight = rest.pop(f"{name}_lora_weight", None)
        if weight is None:
            continue
        path = known.get(name)
        if not isinstance(path, str) or not path:
            why = f"provider_config.loras.{name} is missing; it names the LoRA, by path or URL"
            raise input_refusal(f"{name}_lora_weight", why=why, provider_fault=True)
        loras.append({"path": path, "scale": weight})
    return loras


def _rename(rest: dict[str, Any], **names: str) -> dict[str, Any]:
    """Take the inputs with these names out of *rest*, and return them by fal's names."""
    return {theirs: rest.pop(ours) for ours, theirs in names.items() if ours in rest}


def _inverse(strength: float) -> float:
    return round(1 - strength, 6)


def _generation(rest: dict[str, Any]) -> dict[str, Any]:
    width, height = rest.pop("width", _GENERATION.width), rest.pop("height", _GENERATION.height)
    arguments = {"image_size": {"width": width, "height": height}} | _rename(rest, reference_image_url="image_url")
    # Our strength is the part of the reference that stays, fal's is the part that changes.
    if "reference_image_strength" in rest:
        arguments["strength"] = max(_inverse(rest.pop("reference_image_strength")), _LEAST_STRENGTH)
    return arguments


def _editing(rest: dict[str, Any]) -> dict[str, Any]:
    references = rest.pop("reference_image_urls", [])
    arguments = _rename(rest, base_image_url="image_url", mask_image_url="mask_url")
    if "width" in rest and "height" in rest:
        arguments["image_size"] = _rename(rest, width="width", height="height")
    if not references:
        return arguments
    base = arguments.pop("image_url", None) if "mask_url" not in arguments else None
    return arguments | {"image_urls": [*([base] if base is not None else []), *references]}


def _refine(rest: dict[str, Any]) -> dict[str, Any]:
    arguments = {"upscale_factor": rest.pop("upscale_factor", _REFINE.upscale_factor)}
    return arguments | _rename(rest, base_image_url="image_url", denoise="creativity")


def _video(rest: dict[str, Any]) -> dict[str, Any]:
    duration_s, fps = rest.pop("duration_s", _VIDEO.duration_s), rest.pop("fps", _VIDEO.fps)
    arguments = {"num_frames": max(1, round(duration_s * fps)), "frames_per_second": fps}
    if "motion" in rest:  # fal's video apps have no motion parameter, so the prompt describes it
        verb, _, where = rest.pop("motion").partition("_")
        motion = f"the camera {verb}s {where}"
        arguments["prompt"] = f"{rest.pop('prompt')}, {motion}" if "prompt" in rest else motion
    return arguments | _rename(rest, base_image_url="image_url")


def _background(rest: dict[str, Any]) -> dict[str, Any]:
    arguments = _rename(rest, base_image_url="image_url", background_image_url="ref_image_url")
    if "background_color" in rest and "prompt" not in rest and "ref_image_url" not in arguments:
        arguments["prompt"] = f"a plain, even background of the colour {rest.pop('background_color')}"
    return arguments


def _face(rest: dict[str, Any]) -> dict[str, Any]:
    arguments = _rename(rest, base_image_url="image_url")
    # strength is how much of the face may change, fidelity how much must stay.
    return arguments | ({"fidelity": _inverse(rest.pop("strength"))} if "strength" in rest else {})


def _detail(rest: dict[str, Any]) -> dict[str, Any]:
    return {"upscale_factor": 1} | _rename(rest, base_image_url="image_url", strength="creativity")


def _adjuster(rest: dict[str, Any]) -> dict[str, Any]:
    colors = _rename(rest, temperature="temperature", gamma="gamma")
    for name in ("brightness", "contrast", "saturation"):
        if name in rest:  # ours are factors, fal's are percentages to add
            colors[name] = round(100 * (rest.pop(name) - 1), 6)
    arguments = _rename(rest, base_image_url="image_url")
    if colors:
        arguments |= {"enable_color_correction": True, **colors}
    if rest.get("sharpness", 0) > 1:
        arguments |= {"enable_sharpen": True, "sharpen_mode": "basic", "sharpen_alpha": rest.pop("sharpness") - 1}
    return arguments


def _llm(rest: dict[str, Any]) -> dict[str, Any]:
    """The router takes one prompt and no schema. So messages become a prompt, and a schema becomes a system rule."""
    arguments = {"model": rest.pop("model", DEFAULT_LLM)}
    rules = [rest.pop("system_prompt")] if rest.get("system_prompt") else []
    talk: list[tuple[str, str]] = []
    for index, message in enumerate(rest.pop("messages", [])):
        role, content = message.get("role", "user"), message.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            raise input_refusal("messages", index, why="FAL takes messages whose role and content are text")
        if role == "system":
            rules.append(content)
        else:
            talk.append((role, content))
    if "prompt" in rest:
        talk.append(("user", rest.pop("prompt")))
    if "json_schema" in rest:
        schema = json.encode(rest.pop("json_schema")).decode()
        rules.append(f"Answer with JSON alone, without a fence around it, that fits this JSON schema: {schema}")
    if rules:
        arguments["system_prompt"] = "\n\n".join(rules)
    lines = [content for _, content in talk] if len(talk) == 1 else [f"{role}: {content}" for role, content in talk]
    return arguments | ({"prompt": "\n\n".join(lines)} if lines else {})


KINDS: Mapping[TaskType, FalKind] = {
    TaskType.GENERATION: FalKind(
        app="fal-ai/flux-lora",
        ignored=frozenset({"negative_prompt"}),
        variants=(("reference_image_url", "fal-ai/flux-lora/image-to-image"),),
        translate=_generation,
        seeded=True,
        capabilities=frozenset({"seed", "lora_weights", "reference_image", "num_images"}),
    ),
    TaskType.EDITING: FalKind(
        app="fal-ai/flux-pro/kontext",
        ignored=frozenset({"overlay_image_url", "x", "y", "scale", "opacity", "crop", "rotate"}),
        variants=(
            ("mask_image_url", "fal-ai/flux-pro/v1/fill"),
            ("reference_image_urls", "fal-ai/flux-pro/kontext/multi"),
        ),
        translate=_editing,
        seeded=True,
        capabilities=frozenset({"seed", "prompt", "mask", "reference_image"}),
    ),
    TaskType.REFINE: FalKind(
        app="fal-ai/clarity-upscaler",
        ignored=frozenset({"sharpness"}),
        translate=_refine,
        seeded=True,
        capabilities=frozenset({"seed", "prompt", "upscale", "denoise"}),
    ),
    TaskType.VIDEO_GENERATION: FalKind(
        app="fal-ai/wan/v2.2-a14b/image-to-video",
        ignored=frozenset({"width", "height"}),
        translate=_video,
        output="video",
        seeded=True,
        capabilities=frozenset({"seed", "prompt", "motion"}),
    ),
    TaskType.BACKGROUND_FIX: FalKind(
        app="fal-ai/bria/background/replace",
        ignored=frozenset({"tolerance"}),
        translate=_background,
        seeded=True,
        capabilities=frozenset({"seed", "prompt", "background_color", "background_image"}),
    ),
    TaskType.FACE_ENHANCER: FalKind(
        app="fal-ai/codeformer",
        ignored=frozenset({"radius"}),
        translate=_face,
        seeded=True,
        capabilities=frozenset({"seed", "strength"}),
    ),
    TaskType.IMAGE_ADJUSTER: FalKind(
        app="fal-ai/post-processing", translate=_adjuster, capabilities=frozenset({"color", "sharpen"})
    ),
    TaskType.DETAIL_ENHANCER: FalKind(
        app="fal-ai/clarity-upscaler",
        ignored=frozenset({"radius"}),
        translate=_detail,
        seeded=True,
        capabilities=frozenset({"seed", "strength"}),
    ),
    TaskType.BACKGROUND_REMOVE: FalKind(
        app="fal-ai/birefnet/v2",
        ignored=frozenset({"tolerance", "feather"}),
        translate=partial(_rename, base_image_url="image_url"),
        capabilities=frozenset({"transparency"}),
    ),
    TaskType.LLM_INTERACTION: FalKind(
        app="openrouter/router",
        variants=(("image_urls", "openrouter/router/vision"),),
        translate=_llm,
        output="text",
        capabilities=frozenset({"system_prompt", "json_schema", "image_input"}),
    ),
}
