"""What each task type makes of a picture, down to the pixels."""

import json
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from PIL import Image

from providers.image_files import file_of, gradient, picture_of, product
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.examples import read_examples
from stepwell.providers.local.kinds import KINDS
from stepwell.providers.local.work import FUNCTIONS
from stepwell.providers.shared import images
from support.providers.outputs import check_outputs

BASE = "base_image_url"
HALF = Image.new("RGB", (96, 64), (0, 0, 0))
HALF.paste((255, 255, 255), (0, 0, 48, 64))
EXAMPLES = [json.loads(each.text) for each in read_examples().values()]
ADJUSTED = [step for each in EXAMPLES for step in each["steps"] if step["task_type"] == "IMAGE_ADJUSTER"]
# Each value that the examples give IMAGE_ADJUSTER: in the config of a step, or in the inputs that a step is run for.
STYLES = [
    {name: value}
    for style in (
        *(step["config"] for step in ADJUSTED),
        *json.loads(read_examples()["styles"].text)["inputs"]["styles"],
    )
    for name, value in style.items()
    if isinstance(value, float | int)
]


class Rendered(NamedTuple):
    """The bytes of a file, and the members of the step's result about it."""

    data: bytes
    result: dict[str, Any]


def make(task_type: str, files: dict[str, Image.Image] | None = None, seed: int = 7, **inputs: Any) -> Rendered:
    stored = {field: BytesIO(file_of(image)) for field, image in (files or {}).items()}
    rendered, output = FUNCTIONS[TaskType(task_type)](inputs, stored, seed), BytesIO()
    rendered.write(output)
    return Rendered(output.getvalue(), rendered.result)


def render(task_type: str, files: dict[str, Image.Image] | None = None, **inputs: Any) -> Image.Image:
    return picture_of(make(task_type, files, **inputs).data)


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def spread(image: Image.Image) -> float:
    return float(np.asarray(image.convert("L"), dtype=float).std())


class TestGeneration:
    SMALL: ClassVar[dict[str, Any]] = {"prompt": "fashion model wearing elegant dress", "width": 96, "height": 64}

    def test_the_result_has_the_size_and_format_of_the_image(self) -> None:
        result = make("GENERATION", **self.SMALL)
        assert result.result == {"width": 96, "height": 64, "format": "PNG"}
        assert (picture_of(result.data).size, picture_of(result.data).mode) == ((96, 64), "RGB")

    def test_the_default_is_1024_square_and_isnt_flat(self) -> None:
        image = render("GENERATION", prompt="a shoe")
        assert image.size == (1024, 1024)
        assert spread(image) > 10

    def test_the_same_again_gives_the_same_bytes(self) -> None:
        assert make("GENERATION", **self.SMALL).data == make("GENERATION", **self.SMALL).data

    @pytest.mark.parametrize(
        "change",
        [
            {"prompt": "a quiet ocean"},
            {"seed": 8},
            {"negative_prompt": "pink"},
            {"subject_lora_weight": 1.0},
            {"product_lora_weight": 1.0},
            {"product2_lora_weight": 1.0},
            {"style_lora_weight": 1.0},
        ],
        ids=str,
    )
    def test_every_input_changes_the_image(self, change: dict[str, Any]) -> None:
        assert make("GENERATION", **(self.SMALL | change)).data != make("GENERATION", **self.SMALL).data

    def test_known_words_give_their_colour(self) -> None:
        red, _, blue = np.asarray(render("GENERATION", prompt="ocean")).mean(axis=(0, 1))
        assert blue > red

    def test_a_reference_image_is_blended_in(self) -> None:
        reference = {"reference_image_url": Image.new("RGB", (10, 10), (0, 255, 0))}
        full = render("GENERATION", reference, **self.SMALL, reference_image_strength=1)
        assert full.getextrema() == ((0, 0), (255, 255), (0, 0))
        none = make("GENERATION", reference, **self.SMALL, reference_image_strength=0)
        assert none.data == make("GENERATION", **self.SMALL).data

    @pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (8192, 3), (7, 8192)])
    def test_sizes_of_any_proportion_are_made(self, size: tuple[int, int]) -> None:
        assert render("GENERATION", prompt="x", width=size[0], height=size[1]).size == size

    @pytest.mark.parametrize("prompt", ["", "  ", None])
    def test_a_prompt_is_required(self, prompt: str | None) -> None:
        with pytest.raises(AttemptError, match="prompt"):
            make("GENERATION", prompt=prompt)

    def test_any_text_is_a_prompt(self) -> None:
        for prompt in ("\ud800", "🙂", "日本語", "!?", "x " * 20_000):
            assert render("GENERATION", prompt=prompt, width=32, height=32).size == (32, 32)


class TestRefine:
    def test_doubles_by_default(self) -> None:
        result = make("REFINE", {BASE: gradient(64, 48)})
        assert (result.result["width"], result.result["height"]) == (128, 96)
        assert picture_of(result.data).size == (128, 96)

    def test_factor_one_without_sharpness_changes_nothing(self) -> None:
        image = render("REFINE", {BASE: gradient()}, upscale_factor=1, sharpness=0)
        assert image.tobytes() == gradient().tobytes()

    def test_denoise_takes_specks_away(self) -> None:
        speck = Image.new("RGB", (21, 21), (100, 100, 100))
        speck.putpixel((10, 10), (255, 255, 255))
        image = render("REFINE", {BASE: speck}, upscale_factor=1, sharpness=0, denoise=1)
        assert image.getextrema() == ((100, 100),) * 3

    def test_transparency_is_kept(self) -> None:
        image = render("REFINE", {BASE: product().convert("RGBA")})
        assert (image.mode, image.size) == ("RGBA", (240, 180))

    def test_more_than_64_megapixels_are_refused(self) -> None:
        with pytest.raises(AttemptError, match="64 megapixels") as refusal:
            make("REFINE", {BASE: Image.new("RGB", (1001, 1000))}, upscale_factor=8)
        assert not refusal.value.retryable


class TestEditing:
    def test_nothing_asked_for_changes_nothing(self) -> None:
        assert render("EDITING", {BASE: gradient()}).tobytes() == gradient().tobytes()

    def test_a_crop_is_limited_to_the_image(self) -> None:
        expected = gradient().crop((10, 20, 96, 64))
        assert render("EDITING", {BASE: gradient()}, crop=[10, 20, 500, 500]).tobytes() == expected.tobytes()

    def test_a_quarter_turn_is_exact_and_counter_clockwise(self) -> None:
        image = render("EDITING", {BASE: gradient()}, rotate=90)
        assert image.size == (64, 96)
        assert pixel(image, 0, 95) == pixel(gradient(), 0, 0)
        assert render("EDITING", {BASE: gradient()}, rotate=-270).tobytes() == image.tobytes()

    def test_another_turn_uncovers_transparent_corners(self) -> None:
        image = render("EDITING", {BASE: gradient()}, rotate=30)
        assert image.mode == "RGBA"
        assert pixel(image, 0, 0)[3] == 0
        assert pixel(image, image.width // 2, image.height // 2)[3] == 255

    @pytest.mark.parametrize(
        ("asked", "size"),
        [({"width": 48}, (48, 32)), ({"height": 128}, (192, 128)), ({"width": 5, "height": 7}, (5, 7))],
    )
    def test_an_image_is_resized_to_the_given_sides(self, asked: dict[str, int], size: tuple[int, int]) -> None:
        assert render("EDITING", {BASE: gradient()}, **asked).size == size

    def test_an_overlay_lies_where_it_should(self) -> None:
        overlay = {BASE: HALF, "overlay_image_url": Image.new("RGB", (10, 10), (255, 0, 0))}
        image = render("EDITING", overlay, x=60, y=20, scale=2, opacity=0.5)
        assert image.mode == "RGB"
        assert pixel(image, 59, 20) == (0, 0, 0)
        assert pixel(image, 60, 20) == pixel(image, 79, 39) == (128, 0, 0)
        assert pixel(image, 80, 40) == (0, 0, 0)

    @pytest.mark.parametrize("place", [(-5, -5), (90, 60), (-1_000_000, 5), (1_000_000, 1_000_000)])
    def test_an_overlay_may_stick_out(self, place: tuple[int, int]) -> None:
        overlay = {BASE: HALF, "overlay_image_url": product()}
        assert render("EDITING", overlay, x=place[0], y=place[1]).size == HALF.size

    def test_a_mask_bounds_the_change(self) -> None:
        red = Image.new("RGB", (96, 64), (255, 0, 0))
        image = render("EDITING", {BASE: gradient(), "overlay_image_url": red, "mask_image_url": HALF})
        assert pixel(image, 10, 10) == (255, 0, 0)
        assert pixel(image, 80, 10) == pixel(gradient(), 80, 10)

    def test_references_give_their_colours(self) -> None:
        image = render("EDITING", {BASE: HALF, "reference_image_urls[0]": Image.new("RGB", (9, 9), (255, 0, 0))})
        red, green, blue = pixel(image, 80, 10)
        assert red > green == blue

    def test_the_prompt_is_given_back(self) -> None:
        assert make("EDITING", {BASE: gradient()}, prompt="make it nicer").result["prompt"] == "make it nicer"


class TestAdjuster:
    def test_neutral_values_change_nothing(self) -> None:
        neutral = {"exposure": 0, "brightness": 1, "contrast": 1, "saturation": 1, "temperature": 0, "gamma": 1}
        assert render("IMAGE_ADJUSTER", {BASE: gradient()}).tobytes() == gradient().tobytes()
        assert render("IMAGE_ADJUSTER", {BASE: gradient()}, **neutral, sharpness=1).tobytes() == gradient().tobytes()

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({"exposure": 1}, (137, 137, 137)),  # twice the light of level 100 in sRGB
            ({"brightness": 2}, (200, 200, 200)),
            ({"brightness": 0}, (0, 0, 0)),
            ({"contrast": 0}, (128, 128, 128)),
            ({"contrast": 2}, (72, 72, 72)),
            ({"gamma": 2}, (160, 160, 160)),
            ({"saturation": 0}, (100, 100, 100)),
        ],
        ids=str,
    )
    def test_each_adjustment_changes_the_levels_as_documented(
        self, asked: dict[str, float], expected: tuple[int, int, int]
    ) -> None:
        grey = Image.new("RGB", (4, 4), (100, 100, 100))
        assert pixel(render("IMAGE_ADJUSTER", {BASE: grey}, **asked), 1, 1) == pytest.approx(expected, abs=1)

    def test_temperature_warms_and_cools(self) -> None:
        grey = Image.new("RGB", (4, 4), (100, 100, 100))
        warm, cold = (render("IMAGE_ADJUSTER", {BASE: grey}, temperature=t).getpixel((0, 0)) for t in (60, -60))
        assert isinstance(warm, tuple)
        assert isinstance(cold, tuple)
        assert warm[0] > warm[1] == 100 > warm[2]
        assert cold[0] < cold[1] == 100 < cold[2]

    @pytest.mark.parametrize("asked", STYLES, ids=str)
    def test_each_value_of_an_example_can_be_seen(self, asked: dict[str, float]) -> None:
        brown = (180, 100, 60)
        adjusted = pixel(render("IMAGE_ADJUSTER", {BASE: Image.new("RGB", (4, 4), brown)}, **asked), 1, 1)
        assert max(abs(after - before) for after, before in zip(adjusted, brown, strict=True)) >= 2

    def test_transparency_is_kept(self) -> None:
        image = Image.new("RGBA", (4, 4), (100, 100, 100, 77))
        assert pixel(render("IMAGE_ADJUSTER", {BASE: image}, exposure=2), 0, 0)[3] == 77


@pytest.mark.parametrize("task_type", ["DETAIL_ENHANCER", "FACE_ENHANCER"])
class TestEnhancers:
    def test_strength_zero_changes_nothing(self, task_type: str) -> None:
        assert render(task_type, {BASE: product()}, strength=0).tobytes() == product().tobytes()

    def test_more_strength_changes_more(self, task_type: str) -> None:
        def change(strength: float) -> float:
            image = render(task_type, {BASE: soft}, strength=strength)
            return float(np.abs(np.asarray(image, dtype=float) - np.asarray(soft, dtype=float)).mean())

        soft = product().resize((60, 45)).resize((240, 180), Image.Resampling.BICUBIC)
        assert 0 < change(0.2) < change(1.0)

    @pytest.mark.parametrize("radius", [0, 0.1, 100])
    def test_any_radius_will_do(self, task_type: str, radius: float) -> None:
        assert render(task_type, {BASE: product().convert("RGBA")}, radius=radius).mode == "RGBA"


def test_skin_is_smoothed_and_the_rest_is_not() -> None:
    noise = np.random.default_rng(0).integers(-10, 11, (80, 160, 1))
    both = np.full((80, 160, 3), (60, 90, 160))
    both[:, :80] = (205, 150, 120)
    image = Image.fromarray((both + noise).astype(np.uint8))
    result = render("FACE_ENHANCER", {BASE: image}, strength=1, radius=2)
    skin, rest = (0, 0, 70, 80), (90, 0, 160, 80)
    assert spread(result.crop(skin)) < 0.7 * spread(image.crop(skin))
    assert spread(result.crop(rest)) >= spread(image.crop(rest))


class TestBackground:
    def test_the_border_goes_and_what_it_encloses_stays(self) -> None:
        image = render("BACKGROUND_REMOVE", {BASE: product()})
        assert (image.mode, image.size) == ("RGBA", (120, 90))
        assert pixel(image, 0, 0)[3] == pixel(image, 119, 89)[3] == pixel(image, 29, 40)[3] == 0
        assert pixel(image, 40, 45) == (200, 30, 30, 255)
        assert pixel(image, 60, 45) == (240, 240, 240, 255)

    def test_without_feather_the_edge_is_hard(self) -> None:
        image = render("BACKGROUND_REMOVE", {BASE: product()}, feather=0)
        assert set(image.getchannel("A").tobytes()) == {0, 255}
        assert pixel(image, 30, 20)[3] == 255

    def test_feather_softens_inwards(self) -> None:
        alpha = render("BACKGROUND_REMOVE", {BASE: product()}, feather=4).getchannel("A")
        ramp = [alpha.getpixel((x, 45)) for x in range(28, 42)]
        assert ramp[:2] == [0, 0]
        assert ramp == sorted(ramp, key=int)  # type: ignore[arg-type]
        assert len(set(ramp)) > 4

    def test_the_tolerance_decides_what_is_background(self) -> None:
        image = product()
        image.paste((228, 240, 240), (0, 0, 20, 20))
        assert pixel(render("BACKGROUND_REMOVE", {BASE: image}, tolerance=11), 5, 5)[3] == 255
        assert pixel(render("BACKGROUND_REMOVE", {BASE: image}, tolerance=12), 5, 5)[3] == 0

    def test_a_winding_path_is_followed_to_its_end(self) -> None:
        spiral = Image.new("RGB", (61, 61), (255, 255, 255))
        for ring in range(2, 30, 4):
            spiral.paste((0, 0, 0), (ring, ring, 61 - ring, 61 - ring))
            spiral.paste((255, 255, 255), (ring + 2, ring + 2, 59 - ring, 59 - ring))
            spiral.paste((255, 255, 255), (ring, 30, ring + 2, 32) if ring % 8 == 2 else (59 - ring, 30, 61 - ring, 32))
        alpha = render("BACKGROUND_REMOVE", {BASE: spiral}, feather=0).getchannel("A")
        assert alpha.getpixel((30, 30)) == 0
        assert alpha.getpixel((3, 3)) == 255

    def test_large_images_keep_their_holes_and_edges(self) -> None:
        image = render("BACKGROUND_REMOVE", {BASE: product().resize((2880, 2160), 0)}, feather=0)
        assert [pixel(image, x, 1080)[3] for x in (0, 719, 720, 1440, 2159, 2160)] == [0, 0, 255, 255, 255, 0]

    def test_transparency_that_is_there_is_used(self) -> None:
        image = Image.new("RGBA", (10, 10), (255, 255, 255, 0))
        image.putpixel((0, 0), (255, 255, 255, 90))
        assert render("BACKGROUND_REMOVE", {BASE: image}).tobytes() == image.tobytes()
        assert pixel(render("BACKGROUND_FIX", {BASE: image}, background_color="#000"), 5, 5) == (0, 0, 0)

    @pytest.mark.parametrize(
        ("colour", "expected"),
        [(None, (255, 255, 255)), ("navy", (0, 0, 128)), ("#0f0", (0, 255, 0)), ("#10203040", (16, 32, 48, 64))],
    )
    def test_a_colour_is_put_behind(self, colour: str | None, expected: tuple[int, ...]) -> None:
        image = render("BACKGROUND_FIX", {BASE: product()}, background_color=colour)
        assert pixel(image, 0, 0) == expected
        assert pixel(image, 40, 45)[:3] == (200, 30, 30)

    def test_the_background_image_is_put_behind_the_subject(self) -> None:
        image = render("BACKGROUND_FIX", {BASE: product(), "background_image_url": Image.new("RGB", (7, 9), "teal")})
        assert (image.mode, image.size, pixel(image, 0, 0)) == ("RGB", (120, 90), (0, 128, 128))


class TestVideo:
    def frames(self, data: bytes) -> list[bytes]:
        video = picture_of(data)
        result = []
        for n in range(getattr(video, "n_frames", 1)):
            video.seek(n)
            result.append(video.convert("RGB").tobytes())
        return result

    def test_it_plays_as_announced(self) -> None:
        result = make("VIDEO_GENERATION", {BASE: gradient()})
        expected = {"width": 96, "height": 64, "format": "WEBP", "fps": 12, "frames": 48, "duration_s": 4.0}
        assert result.result == expected | {"motion": "zoom_in"}
        assert picture_of(result.data).size == (96, 64)
        frames = self.frames(result.data)
        assert len(frames) == 48
        assert frames[0] != frames[-1]

    def test_a_video_of_a_plain_image_has_all_its_frames(self) -> None:
        result = make("VIDEO_GENERATION", {BASE: Image.new("RGB", (33, 21), "red")}, duration_s=1)
        assert len(self.frames(result.data)) == 12

    def test_each_motion_gives_another_video(self) -> None:
        motions = ("zoom_in", "zoom_out", "pan_left", "pan_right", "pan_up", "pan_down")
        videos = [make("VIDEO_GENERATION", {BASE: gradient()}, duration_s=0.5, motion=m).data for m in motions]
        assert len(set(videos)) == len(motions)

    def test_panning_right_shows_what_is_on_the_right_last(self) -> None:
        video = picture_of(make("VIDEO_GENERATION", {BASE: gradient()}, motion="pan_right").data)
        first = pixel(video.convert("RGB"), 48, 32)[0]
        video.seek(47)
        assert pixel(video.convert("RGB"), 48, 32)[0] > first + 20

    @pytest.mark.parametrize(
        ("asked", "size"),
        [
            ({}, (512, 341)),
            ({"width": 90}, (90, 60)),
            ({"height": 90}, (135, 90)),
            ({"width": 64, "height": 64}, (64, 64)),
        ],
    )
    def test_a_video_has_the_size_that_width_and_height_ask_for(
        self, asked: dict[str, int], size: tuple[int, int]
    ) -> None:
        result = make("VIDEO_GENERATION", {BASE: gradient(900, 600)}, duration_s=0.2, **asked)
        assert picture_of(result.data).size == size

    @pytest.mark.parametrize(
        "asked", [{"duration_s": 60, "fps": 60}, {"duration_s": 20, "fps": 30, "width": 2048, "height": 2048}], ids=str
    )
    def test_a_video_of_too_many_pixels_is_refused(self, asked: dict[str, int]) -> None:
        with pytest.raises(AttemptError, match="more than LOCAL makes"):
            make("VIDEO_GENERATION", {BASE: gradient()}, **asked)

    def test_a_video_of_a_transparent_image_has_a_white_background(self) -> None:
        video = render("VIDEO_GENERATION", {BASE: Image.new("RGBA", (32, 32))}, duration_s=0.1)
        assert pixel(video.convert("RGB"), 16, 16) == pytest.approx((255, 255, 255), abs=2)


BAD = [True, "2", "", [], {}, float("nan"), float("inf"), -(10**30), 10**30]
NUMBERS = [
    ("GENERATION", ("width", "height", "reference_image_strength", "style_lora_weight")),
    ("EDITING", ("crop", "rotate", "width")),
    ("REFINE", ("upscale_factor", "sharpness", "denoise")),
    ("VIDEO_GENERATION", ("duration_s", "fps", "width")),
    ("FACE_ENHANCER", ("strength", "radius")),
    ("IMAGE_ADJUSTER", ("exposure", "brightness", "gamma", "temperature", "sharpness")),
    ("BACKGROUND_REMOVE", ("tolerance", "feather")),
    ("BACKGROUND_FIX", ("background_color",)),
    ("VIDEO_GENERATION", ("motion",)),
]


@pytest.mark.parametrize(("task_type", "field"), [(kind, field) for kind, fields in NUMBERS for field in fields])
@pytest.mark.parametrize("value", BAD, ids=repr)
def test_a_bad_value_is_refused_by_name(task_type: str, field: str, value: object) -> None:
    inputs: dict[str, Any] = {"prompt": "x", field: value}
    with pytest.raises(AttemptError, match=f"^{field}") as refusal:
        make(task_type, {BASE: product()}, **inputs)
    assert not refusal.value.retryable


@pytest.mark.parametrize("task_type", [kind for kind in KINDS if kind is not TaskType.GENERATION])
def test_every_task_is_deterministic_and_needs_its_base(task_type: TaskType) -> None:
    first, second = (make(task_type, {BASE: product()}) for _ in range(2))
    assert first == second
    check_outputs(ProviderType.LOCAL, task_type, first.result)
    with pytest.raises(AttemptError, match="base_image_url: is required"):
        make(task_type)


@pytest.mark.parametrize("task_type", [kind for kind in KINDS if kind is not TaskType.GENERATION])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_every_task_type_accepts_tiny_images(task_type: TaskType, size: tuple[int, int]) -> None:
    expected = (2 * size[0], 2 * size[1]) if task_type is TaskType.REFINE else size
    assert render(task_type, {BASE: Image.new("RGB", size, "red")}).size == expected
    assert render(task_type, {BASE: Image.new("RGBA", size)}).size == expected


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(
    ("task_type", "inputs"),
    [
        ("GENERATION", {"prompt": "x", "width": 131, "height": 97}),
        ("REFINE", {"denoise": 0.5}),
        ("REFINE", {"upscale_factor": 1.37}),
        ("DETAIL_ENHANCER", {}),
        ("FACE_ENHANCER", {"radius": 3}),
        ("IMAGE_ADJUSTER", {"sharpness": 2}),
        ("BACKGROUND_FIX", {}),
        ("EDITING", {"x": -5, "y": 20, "scale": 1.5}),
        ("EDITING", {"width": 200, "opacity": 0.5}),
    ],
    ids=str,
)
def test_the_size_of_tiles_does_not_show(
    task_type: str, inputs: dict[str, Any], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        BASE: product(150, 140).convert(mode),
        "overlay_image_url": gradient(60, 50).convert(mode),
        "background_image_url": gradient(60, 70).convert(mode),
        "reference_image_url": gradient(60, 70).convert(mode),
    }
    whole = render(task_type, files, **inputs)
    monkeypatch.setattr(images, "_TILE_PIXELS", 500)
    tiled = render(task_type, files, **inputs)
    assert np.abs(np.asarray(whole, dtype=int) - np.asarray(tiled, dtype=int)).max() <= 1
