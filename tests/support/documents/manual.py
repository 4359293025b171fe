"""The files of the manual, and which of their blocks of code the tests don't run."""

import re

from msgspec.structs import fields

from stepwell.api.routes.manual_pages import PAGES, anchor_of
from stepwell.basics.setting_names import COMMAND_LINE, PREFIX
from stepwell.providers.installed_providers import BUILT_IN
from stepwell.settings import Settings
from support.processes.source_tree import TOP

FOLDER = TOP / "src/stepwell/manual"
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# Page, first line of the block (its first 60 characters), and why it isn't run.
NOT_RUN = [
    ("api", "openapi-python-client generate --path openapi.json", "it needs the package openapi-python-client"),
    ("typescript", "npm install openapi-fetch standardwebhooks", "it downloads packages from npm"),
    ("events", 'const {ticket} = await (await fetch("/api/v1/events/tickets"', "it needs a browser"),
    ("vertex", "export STEPWELL_CREDENTIALS__VERTEX_FILE=/run/secrets/vertex", "it needs a service account"),
    ("operations", "export STEPWELL_DATABASE_URL=postgresql://stepwell:password@", "it needs a PostgreSQL"),
    ("storage", "STEPWELL_S3_BUCKET=pictures STEPWELL_S3_REGION=eu-central-1", "it needs a bucket"),
    ("storage", "aws s3 sync --delete data/artifacts/media s3://pictures/medi", "it needs a bucket"),
    ("container", "docker compose -f deploy/compose.yaml up", "it needs a Docker engine"),
    ("container", "export POSTGRES_PASSWORD=a-password", "it needs a Docker engine"),
    ("container", "docker run --rm -v deploy_stepwell:/var/lib/stepwell stepwel", "it needs a Docker engine"),
    ("performance", "stepwell bench --data-dir bench --work image --workflows 12", "it takes some minutes"),
]


def unknown_settings(text: str) -> set[str]:
    """Return the names in *text* that begin like a setting's and are none."""
    names = {name.partition("__")[0] for name in re.findall(rf"{PREFIX}[A-Z0-9_]+[A-Z]", text)}
    known = {PREFIX + setting.name.upper() for setting in fields(Settings)} | COMMAND_LINE
    known |= {variable for provider in BUILT_IN for variable in provider.variables}
    known.add("STEPWELL_CAPTIONS_URL")  # of the provider in the example of a page
    return {name for name in names - known if name.removesuffix("_FILE") not in known}


def anchors_of(text: str) -> list[str]:
    """Return the anchors of the headings of *text*, in their order."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.MULTILINE)
    return [anchor_of(heading.replace("`", "")) for heading in headings]


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its name, with the notes to the tests."""
    return {name: (FOLDER / f"{name}.md").read_text(encoding="utf-8") for name in PAGES}
