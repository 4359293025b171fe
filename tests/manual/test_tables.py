"""The tables of the manual: where the generated ones are, and that the others say what the code says."""

import re

from stepwell.definition.provider_descriptors import SHARED_MEMBERS
from stepwell.mcp.assistant_server import TOOLS
from stepwell.mcp.file_tools import UPLOAD
from stepwell.providers.installed_providers import BUILT_IN
from support.documents.manual import pages
from support.documents.manual_tables import TABLES
from support.generated import COMMAND

PAGES = pages()


def test_each_table_is_in_one_page() -> None:
    for name in TABLES:
        assert sum(text.count(f"<!-- table: {name}, by {COMMAND} -->\n") for text in PAGES.values()) == 1, name


def test_the_tools_of_assistants_are_listed_with_their_scopes() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| .+ \| `([^`]+)`[^|]* \|$", PAGES["assistant"], re.MULTILINE)
    listed = {name: scope for names, scope in rows for name in re.findall(r"\w+", names)}
    assert listed == {tool.name: tool.permission for tool in (*TOOLS, UPLOAD)}


def test_the_page_of_a_provider_lists_the_members_that_it_reads() -> None:
    head = "| member of `provider_config` | meaning |\n|---|---|\n"
    listed = {}
    for page, text in PAGES.items():
        if head in text:
            rows = text.partition(head)[2].partition("\n\n")[0].splitlines()
            listed[page.upper()] = frozenset(
                name for row in rows for name in re.findall("`([^`]+)`", row.split("|")[1])
            )
    assert {provider: names - SHARED_MEMBERS for provider, names in listed.items()} == {
        str(each.name): each.members for each in BUILT_IN if each.name in listed
    }
    assert {each.name for each in BUILT_IN if each.members is not None} - set(listed) == {
        "LOCAL",
        "VERTEX",
    }  # VERTEX refers to GEMINI
