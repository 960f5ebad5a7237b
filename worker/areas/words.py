"""What the columns of the reporting views mean, but for those that an area declares itself."""

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.core.model import FailureKind


class Kind(enum.StrEnum):
    """What a view's column holds."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"
    DATE = "date"
    """A calendar date in Norway (Europe/Oslo), as text ``YYYY-MM-DD``."""
    JSON = "json"
    """JSON as text, in every format."""


class ViewColumn(NamedTuple):
    """One column of a reporting view.

    Attributes:
        nb, en: what it means, in bokmål and English.
        unit: of a number, or the time zone; else empty.
        source_path: where PTS has it, else empty.
    """

    name: str
    kind: Kind
    nb: str
    en: str
    unit: str = ""
    is_nullable: bool = True
    source_path: str = ""


def _json(nb: str, en: str) -> ViewColumn:
    return ViewColumn("", Kind.JSON, nb, en, is_nullable=False)


def _text(nb: str, en: str, *, null: bool = False) -> ViewColumn:
    return ViewColumn("", Kind.TEXT, nb, en, is_nullable=null)


def _time(nb: str, en: str, *, null: bool = False) -> ViewColumn:
    return ViewColumn("", Kind.TIME, nb, en, "UTC", is_nullable=null)


def _flag(nb: str, en: str, *, null: bool = False) -> ViewColumn:
    return ViewColumn("", Kind.BOOLEAN, nb, en, is_nullable=null)


def _count(unit: str, nb: str, en: str, *, null: bool = False) -> ViewColumn:
    return ViewColumn("", Kind.INTEGER, nb, en, unit, is_nullable=null)


_RUN: Final[Mapping[str, ViewColumn]] = {
    "run_id": _count("", "Kjøringens nummer", "number of the run"),
    "kind": _text(
        "Full kjøring (sync) eller delvis (backfill)", "full run (sync) or subset (backfill)"
    ),
    "status": _text("Hvordan det står til med kjøringen", "state of the run"),
    "started_at": _time("Begynnelsen", "the beginning"),
    "finished_at": _time("Når kjøringen tok slutt", "end of the run", null=True),
    "published_at": _time("Når det ble publisert", "when it was published", null=True),
    "exit_code": _count(
        "", "Avslutningskode, se report_code", "exit code, see report_code", null=True
    ),
    "reason": _text("Hvorfor", "why", null=True),
    "areas": _json("Områdene som ble lest", "the areas that were read"),
    "persons_total": _count(
        "persons",
        "Personer på listen og de som forlot den",
        "persons on the roster, and those who left it",
    ),
    "persons_complete": _count("persons", "Personer lest fullstendig", "persons read completely"),
    "persons_stale": _count(
        "persons",
        "Personer der noe ikke lot seg lese",
        "persons of whom something could not be read",
    ),
    "persons_departed": _count(
        "persons", "Personer som forlot listen", "persons who left the roster"
    ),
    "persons_not_sent": _count(
        "persons",
        "Personer på listen som PTS ikke ble spurt om",
        "persons on the roster whom PTS was not asked about",
    ),
    "roster_faults": _count(
        "lines", "Linjer i listen som ikke lot seg lese", "roster lines that could not be read"
    ),
    "areas_complete": _count(
        "areas", "Områder lest til slutten", "areas of persons read to their end"
    ),
    "areas_failed": _count(
        "areas", "Områder som ikke lot seg lese", "areas of persons that could not be read"
    ),
    "rows_read": _count("restrictions", "Restriksjoner lest", "restrictions read"),
    "rows_opened": _count("restrictions", "Nye restriksjoner", "new restrictions"),
    "rows_changed": _count("restrictions", "Endrede restriksjoner", "changed restrictions"),
    "rows_closed": _count(
        "restrictions", "Restriksjoner som falt bort", "restrictions that are gone"
    ),
    "rows_moved": _count(
        "restrictions",
        "Restriksjoner flyttet til en annen identifikator",
        "restrictions that moved to another identifier",
    ),
    "rows_unchanged": _count("restrictions", "Uendrede restriksjoner", "unchanged restrictions"),
    "requests": _count("requests", "Forespørsler til PTS", "requests to PTS"),
    "retries": _count(
        "requests", "Forespørsler som var gjentakelser", "requests that repeated another"
    ),
    "publication_no": _count("", "Publiseringens nummer", "number of the publication", null=True),
    "worker_version": _text("Programmets versjon", "version of the program"),
}
_PERSON: Final[Mapping[str, ViewColumn]] = {
    "restriction_id": _text(
        "PTS' nøkkel for restriksjonen", "PTS's key of the restriction", null=True
    ),
    "person_key": _text("Personens pseudonym", "the person's pseudonym", null=True),
    "local_ref": _text(
        "Virksomhetens egen referanse til personen",
        "the organisation's own reference to the person",
        null=True,
    ),
    "cohort": _text(
        "Virksomhetens gruppe for personen, som klinikk eller avdeling; `other` er flere små",
        "the organisation's group of the person, such as a clinic; `other` in facts is several",
        null=True,
    ),
    "area": _text(
        "Området: patient-safety eller patient-privacy",
        "patient-safety or patient-privacy",
        null=True,
    ),
    "payload": _json(
        "Posten slik PTS sendte den, uten identifikatorer",
        "the record as PTS sent it, without identifiers",
    ),
    "first_seen_at": _time("Når det først ble sett", "when it was first seen"),
    "observed_at": _time("Når dette innholdet først ble sett", "when this content was first seen"),
    "last_confirmed_at": _time(
        "Når området sist ble lest fullstendig", "when the area was last read completely", null=True
    ),
    "is_stale": _flag(
        "Ikke bekreftet av siste publisering", "not confirmed by the latest publication"
    ),
    "valid_from": _time("Publisert fra og med", "published from"),
    "valid_to": _time("Publisert inntil", "published until before", null=True),
    "opened_run": _count("", "Kjøringen som åpnet versjonen", "run that opened the version"),
    "closed_run": _count(
        "", "Kjøringen som lukket versjonen", "run that closed the version", null=True
    ),
    "opened_publication": _count(
        "", "Publiseringen som åpnet versjonen", "publication that opened the version"
    ),
    "closed_publication": _count(
        "", "Publiseringen som lukket versjonen", "publication that closed the version", null=True
    ),
    "since_publication": _count("", "Første publisering", "first publication"),
    "until_publication": _count(
        "",
        "Publiseringen som endret det; tom for det som gjelder nå",
        "publication that changed it; empty for what holds now",
        null=True,
    ),
    "is_in_effect": _flag(
        "Om restriksjonen gjelder nå: koden begrenser noe, og tiden er ikke ute",
        "whether it restricts now: its code restricts, and its time is not over",
    ),
    "ends_at": _time(
        "Når den slutter å gjelde; tom er på ubestemt tid",
        "when it ends; empty is indefinite",
        null=True,
    ),
    "restriction_group": _text(
        "denied, delayed, blocked, shielded eller none; tom for en ukjent kode",
        "denied, delayed, blocked, shielded or none; empty for an unknown code",
        null=True,
    ),
    "record_count": _count(
        "restrictions",
        "Restriksjoner i siste fullstendige lesning",
        "restrictions in the last complete read",
        null=True,
    ),
    "pages": _count("pages", "Sider i den lesningen", "pages of that read", null=True),
    "digest": _text("Sjekksum for det som ble lest", "digest of what was read", null=True),
    "first_read_at": _time(
        "Når den første av to lesninger ble gjort",
        "when the first of two reads was made",
        null=True,
    ),
    "first_record_count": _count(
        "restrictions",
        "Restriksjoner i den første lesningen",
        "restrictions in that first read",
        null=True,
    ),
    "first_digest": _text(
        "Sjekksum for den første lesningen", "digest of that first read", null=True
    ),
    "failure_kind": _text(
        "Hvorfor området ikke lot seg lese, se report_code",
        "why the area could not be read, see report_code",
        null=True,
    ),
    "failing_since": _time("Siden når", "since when", null=True),
    "failed_runs": _count(
        "runs",
        "Kjøringer på rad uten å kunne lese",
        "runs in a row that could not read it",
        null=True,
    ),
    "last_failed_at": _time("Når det sist mislyktes", "when it failed last"),
    "http_status": _count("", "HTTP-status", "HTTP status", null=True),
    "attempts": _count("requests", "Forsøk i siste kjøring", "attempts in the last run"),
}
_REST: Final[Mapping[str, ViewColumn]] = {
    "day": ViewColumn(
        "",
        Kind.DATE,
        "Publiseringens dato i Norge",
        "date of the publication in Norway",
        "Europe/Oslo",
        is_nullable=False,
    ),
    "added": _count(
        "restrictions",
        "Nye restriksjoner; en som flytter til en annen identifikator, er ny der",
        "restrictions that came; one that moves to another identifier comes there",
    ),
    "changed": _count(
        "restrictions", "Restriksjoner med nytt innhold", "restrictions with a new content"
    ),
    "removed": _count(
        "restrictions",
        "Restriksjoner som falt bort; en som flytter til en annen identifikator, faller bort her",
        "restrictions that are gone; one that moves to another identifier is gone here",
    ),
    "accessed_at": _time("Når noen så på opplysningene", "when somebody looked"),
    "os_user": _text("Kontoen som kjørte kommandoen", "account that ran the command"),
    "login_user": _text(
        "Kontoen som logget inn, om det er en annen",
        "account that logged in, where it is another",
        null=True,
    ),
    "host": _text("Maskinen", "the machine"),
    "command": _text("Kommandoen", "the command"),
    "purpose": _text("Formålet som ble oppgitt", "the purpose that was given", null=True),
    "field": _text(
        "Feltet som erklæringen ikke kjenner", "the field that the declaration does not know"
    ),
    "drift_kind": _text("Hva slags avvik", "kind of drift"),
    "ended_at": _time(
        "Når den falt bort, eller flyttet til en annen identifikator; tom om den står",
        "when it was gone, or moved to another identifier; empty while it stands",
        null=True,
    ),
    "is_left_censored": _flag(
        "Om den sto alt da personen først ble lest, så begynnelsen er ukjent",
        "whether it stood when the person was first read, so that its beginning is unknown",
    ),
    "revisions": _count("versions", "Endringer siden begynnelsen", "changes since the beginning"),
    "days": _count(
        "days",
        "Hele døgn fra begynnelse til slutt, eller til nå",
        "complete days from beginning to end, or until now",
    ),
    "system": _text("Kodeverket", "code system"),
    "code": _text("Koden; tom når det ikke var noen", "the code; empty where there was none"),
    "name_nb": _text("Navn på bokmål", "name in bokmål"),
    "name_nn": _text("Navn på nynorsk", "name in nynorsk"),
    "name_en": _text("Navn på engelsk", "name in English"),
    "is_restricting": _flag(
        "Om koden begrenser noe; tom der det ikke gir mening",
        "whether the code restricts; empty where that means nothing",
        null=True,
    ),
    "source": _text("Hvor koden kommer fra", "where the code is from"),
    "view_name": _text("Visningen", "the view"),
    "column_name": _text("Kolonnen", "the column"),
    "type": _text("Hva slags verdi", "kind of value"),
    "unit": _text(
        "Enhet eller tidssone; tom der det ikke er noen",
        "unit or time zone; empty where there is none",
    ),
    "is_nullable": _flag("Om verdien kan mangle", "whether there may be no value"),
    "meaning_nb": _text("Betydning på bokmål", "meaning in bokmål"),
    "meaning_en": _text("Betydning på engelsk", "meaning in English"),
    "source_path": _text(
        "Hvor verdien står hos PTS; tom der den ikke er derfra",
        "where PTS has the value; empty where it is not from there",
    ),
}

_FACTS: Final[Mapping[str, ViewColumn]] = {
    "level": _text("Nivået; tomt når det ikke er noe", "the level; empty where there is none"),
    "cause": _text(
        "Hvordan restriksjonen oppsto; tom når området ikke sier det",
        "how the restriction came about; empty where the area does not say",
    ),
    "open": _count("restrictions", "Restriksjoner som sto", "restrictions that stood"),
    "in_effect": _count("restrictions", "De av dem som gjaldt", "those that were in effect"),
    "persons": _count("persons", "Personer som hadde en av dem", "persons who had one of them"),
    "persons_in_effect": _count(
        "persons", "Personer som hadde en som gjaldt", "persons who had one that was in effect"
    ),
    "roster": _count("persons", "Personer på listen", "persons on the roster", null=True),
    "confirmed": _count(
        "persons", "Personer der alt er bekreftet", "persons with everything confirmed", null=True
    ),
    "stale": _count(
        "persons", "Personer der noe ikke er bekreftet", "persons with something stale", null=True
    ),
    **{
        f"failed_{kind}": _count(
            "persons",
            f"Personer med feil av slaget {kind}, se report_code",
            f"persons with a failure of the kind {kind}, see report_code",
            null=True,
        )
        for kind in FailureKind
    },
    "joined": _count(
        "persons", "Personer som kom til eller kom tilbake", "persons who were new or came back"
    ),
    "departed": _count("persons", "Personer som forlot listen", "persons who left the roster"),
    "seq": _count("", "Plassen i rekkefølgen", "place in the order"),
    "op": _text(
        "insert, update, close, depart, relabel, erase, purge eller restore",
        "insert, update, close, depart, relabel, erase, purge or restore",
    ),
    "version_no": _count(
        "", "Versjonens nummer i databasen", "number of the version in this database", null=True
    ),
    "person_no": _count(
        "", "Personens nummer i databasen", "number of the person in this database", null=True
    ),
}

WORDS: Final[Mapping[str, ViewColumn]] = {
    name: column._replace(name=name)
    for name, column in {**_RUN, **_PERSON, **_REST, **_FACTS}.items()
}
"""By the column's name."""
