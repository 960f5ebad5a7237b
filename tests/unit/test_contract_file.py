"""The contract with PTS: one TOML file."""

import pytest

from worker.config.contract_file import default_contract_text, load_contract, read_contract
from worker.core.contract import fingerprint
from worker.errors import ConfigurationError

SMALL = """
[patient-safety]
path = "/search"
[patient-safety.columns]
cause = "cause"
"""


def test_the_one_that_comes_with_the_program():
    """It declares both areas, and what every record must have."""
    contract = load_contract(None)
    required = {name: area.required for name, area in contract.items()}
    assert required == {
        "patient-safety": ("confidentiality_code",),
        "patient-privacy": ("privacy_type",),
    }


def test_what_is_left_out_is_strict():
    """The answer is the list itself, without pages, and no status means that there is nothing."""
    area = read_contract(SMALL)["patient-safety"]
    assert (area.records, area.paging, area.empty_status) == ("", None, ())
    assert (area.no_records, area.naive_times) == ("failure", "failure")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("colums = {}", "patient-safety.colums: there is no such key; the keys are path, query"),
        (
            "paging = {style = 'page', send_as = 'p', x = 1}",
            "such key; the keys are style, send_as, ",
        ),
        ("paging = 'auto'", "patient-safety.paging: must be a table"),
        ("paging = {style = 'pages'}", "paging: style must be one of link, next"),
        ("paging = {style = 'page'}", "patient-safety.paging: the key send_as is missing"),
        ("ignore = ['a[b=1].c']", "patient-safety.ignore[0]: a path around the records has no"),
        ("ignore = ['a']", 'patient-safety: a is a part of the list of records ("")'),
        ("required = ['nothing']", "is named nothing; the contract declares "),
        ("empty_status = [500]", "patient-safety.empty_status[0]: "),
        ("naive_times = 'CET'", "patient-safety.naive_times: "),
        ("id = 'a..b'", "patient-safety.id: 'a..b' is not a field path"),
        ("records = 3", "patient-safety.records: "),
        ("path = 'search'", "patient-safety.path: must be a path that starts with /"),
        ('headers = {x = "a\\nb"}', "patient-safety.headers: x must be plain text"),
        ("headers = {'x y' = 'a'}", "patient-safety.headers: contains a name that is not valid"),
        ("headers = {DPoP = 'a'}", "patient-safety.headers: DPoP is set by the worker"),
        ("body = {offId = 'off_id'}", 'patient-safety.body: must contain "{off_id}" in the place'),
        ("columns = {nothing = 'a'}", "patient-safety.columns.nothing: there is no such column"),
        ("columns = {delay_days = {a = 'b'}}", "delay_days: has the type integer, and cannot be"),
        ("[nowhere]\npath = '/'", "nowhere: there is no such area"),
        ("path = 7", "not valid TOML"),
        ("body = {offId = '{off_id}', from = 2026-01-01}", "contains a date, a time, nan or inf"),
        ("path = '/{off_id}'", "patient-safety.path: "),
        ("query = {id = '{off_id}'}", "patient-safety.query: contains {off_id}, which"),
        ("headers = {x = '{off_id}'}", "patient-safety.headers: contains {off_id}, which"),
        ("records = 'header:x'", "patient-safety.records: a response header is not allowed here"),
        ("total = 'header:'", "patient-safety.total: is not the name of a response header"),
        ("paging = {style = 'page', send_as = 'offId'}", "patient-safety: paging.send_as: offId"),
        ("paging = {style = 'page', send_as = ''}", "paging.send_as: must not be empty"),
        (
            "extra = {x = {each = ['a', 'b'], c = 'd'}}",
            "patient-safety.extra.x: each must name",
        ),
        ("extra = {x = {a = []}}", "patient-safety.extra.x.a: "),
        ("records = 'a'\ntotal = 'a[0].b'", 'a[0].b is a part of the list of records ("a")'),
        ("records = 'a'\nignore = ['a.b']", 'a.b is a part of the list of records ("a")'),
        ("records = 'a[00]'", "is not a field path"),
        (
            "required = ['cause']\nvolatile = ['cause']",
            "patient-safety.volatile: remove cause",
        ),
        ("columns = {delay_days = 'd'}\nvolatile = ['delay_days']", "remove delay_days"),
        (
            "[patient-privacy]\npath='/'\nvolatile=['time_ranges']\ncolumns={time_ranges='t'}",
            "patient-privacy.volatile: remove time_ranges",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(line, fault):
    """All of them at once, where there are several."""
    text = SMALL
    if line.startswith("columns"):
        text = SMALL.partition("[patient-safety.columns]")[0]
    if line.startswith("["):
        text += line
    elif line.startswith("path = '"):
        text = text.replace('path = "/search"', line)
    else:
        text = text.replace('path = "/search"', f'path = "/search"\n{line}')
    with pytest.raises(ConfigurationError) as caught:
        read_contract(text)
    assert fault in caught.value.message


@pytest.mark.promise("8")
def test_a_fault_does_not_hold_the_value():
    """Somebody may have pasted an answer into it."""
    with pytest.raises(ConfigurationError) as caught:
        read_contract(SMALL.replace('"cause"', "[16858399649]"))
    assert "16858399649" not in caught.value.message


@pytest.mark.parametrize("text", ['{"openapi": "3.0.1"}', "# PTS\nopenapi: 3.1.0\n", "\n{}"])
def test_another_document_is_named_with_its_command(text):
    """NHN publishes OpenAPI, and a contract is TOML."""
    with pytest.raises(ConfigurationError, match="is an OpenAPI document, or JSON") as caught:
        read_contract(text)
    assert "pts-worker contract from-openapi" in caught.value.hint


def test_two_contracts_have_one_fingerprint_only_if_they_are_the_same():
    """So that an open run is not continued under another one."""
    default = read_contract(default_contract_text())
    changed = read_contract(default_contract_text().replace('"cause"', '"reason"'))
    read = (default, changed, load_contract(None))
    marks = [fingerprint(one["patient-safety"]) for one in read]
    assert (marks[0] == marks[1], marks[0] == marks[2]) == (False, True)
