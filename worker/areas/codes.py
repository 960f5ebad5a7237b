"""The codes that stand in the reporting views, with names: what ``report_code`` shows."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from worker.areas.patient_privacy import PATIENT_PRIVACY
from worker.areas.patient_safety import PATIENT_SAFETY
from worker.core.effect import Effect, RestrictionGroup
from worker.core.model import FailureKind
from worker.errors import ExitCode


class Code(NamedTuple):
    """One code. ``group`` and ``is_restricting`` are None where the code says nothing of it."""

    system: str
    code: str
    group: str | None
    name_nb: str
    name_nn: str
    name_en: str
    is_restricting: bool | None
    source: str


_Names = dict[str, tuple[str, str, str]]
"""Bokmål, nynorsk and English, by code."""

_9603: Final[_Names] = {
    "N": ("Normal, ingen sperring", "Normal, inga sperring", "Normal, no restriction"),
    "NORN_FFL": (
        "Nektet: fare for liv eller alvorlig helseskade",
        "Nekta: fare for liv eller alvorleg helseskade",
        "Denied: danger to life or serious harm to health",
    ),
    "NORN_KUT": (
        "Nektet: klart utilrådelig av hensyn til en nærstående",
        "Nekta: klart utilrådeleg av omsyn til ein nærståande",
        "Denied: clearly inadvisable for someone close",
    ),
    "NORN_EPO": (
        "Nektet: pasientens eget ønske, vises ikke elektronisk",
        "Nekta: pasienten sitt eige ønske, blir ikkje vist elektronisk",
        "Denied: the patient's own wish, not shown electronically",
    ),
    "NORN_ALL": (
        "Nektet for alle dokumenter",
        "Nekta for alle dokument",
        "Denied for all documents",
    ),
    "NORN_FOR": (
        "Nektet: eldre enn datoen da automatisk innsyn begynte",
        "Nekta: eldre enn datoen då automatisk innsyn tok til",
        "Denied: older than the date when automatic access began",
    ),
    "NORN_FORANS": (
        "Nektet for dem som har foreldreansvar",
        "Nekta for dei som har foreldreansvar",
        "Denied to holders of parental responsibility",
    ),
    "NORN_UNGDOM": (
        "Nektet for ungdom fra 12 til 16 år; foreldre ser det",
        "Nekta for ungdom frå 12 til 16 år; foreldre ser det",
        "Denied to youth of 12 to 16 years; parents may see",
    ),
    "NORN_FFH": (
        "Nektet: fare for helsepersonell",
        "Nekta: fare for helsepersonell",
        "Denied: danger to health personnel",
    ),
    "NORN_FPB": (
        "Nektet: forsvarlig behandling av pasienten",
        "Nekta: forsvarleg behandling av pasienten",
        "Denied: sound treatment of the patient",
    ),
    "NORN_DUP": ("Nektet: duplikat", "Nekta: duplikat", "Denied: duplicate document"),
    "NORN_ANG": ("Nektet: annet grunnlag", "Nekta: anna grunnlag", "Denied: other grounds"),
    "NORU": (
        "Utsatt innsyn for innbyggeren",
        "Utsett innsyn for innbyggjaren",
        "Delayed for the citizen until a set time",
    ),
    "NORS": (
        "Sperret av innbyggeren for helsepersonell",
        "Sperra av innbyggjaren for helsepersonell",
        "Blocked by the citizen towards health personnel",
    ),
}
_TYPES: Final[_Names] = {
    "Block": ("Sperring", "Sperring", "Block: the patient's own choice"),
    "Shield": ("Skjerming", "Skjerming", "Shield: by staff, for the patient"),
}
_LEVELS: Final[_Names] = {
    "Soft": (
        "Kan åpnes i en nødsituasjon",
        "Kan opnast i ein nødsituasjon",
        "May be bypassed in an emergency",
    ),
    "Hard": (
        "Kan ikke åpnes, heller ikke i en nødsituasjon",
        "Kan ikkje opnast, heller ikkje i ein nødsituasjon",
        "May not be bypassed, not even in an emergency",
    ),
}
_CAUSES: Final[_Names] = {
    "Undefined": ("Ikke angitt", "Ikkje gitt opp", "Not stated"),
    "Manual": ("Satt av en person", "Sett av ein person", "Set by a person"),
    "Automated": ("Satt etter regel", "Sett etter regel", "Set by rule"),
    "Derived": (
        "Avledet av en annen restriksjon",
        "Avleidd av ein annan restriksjon",
        "Derived from another restriction",
    ),
}
_OBJECTS: Final[_Names] = {
    "Rekvisisjon": ("Rekvisisjon", "Rekvisisjon", "Requisition"),
    "Svarrapport": ("Svarrapport", "Svarrapport", "Result report"),
}
_FAILURES: Final[_Names] = {
    FailureKind.TRANSIENT: (
        "Tjenesten svarte ikke, eller var overbelastet",
        "Tenesta svarte ikkje, eller var overlasta",
        "The service did not answer, or was overloaded",
    ),
    FailureKind.REJECTED: (
        "PTS avviste forespørselen",
        "PTS avviste førespurnaden",
        "PTS rejected the request",
    ),
    FailureKind.REFUSED: (
        "PTS nektet denne klienten adgang",
        "PTS nekta denne klienten tilgang",
        "PTS denied this client",
    ),
    FailureKind.CONTRACT: (
        "Svaret var ikke til å forstå",
        "Svaret var ikkje til å forstå",
        "The answer could not be understood",
    ),
    FailureKind.PAGING: (
        "Svaret kunne ikke leses til slutten",
        "Svaret kunne ikkje lesast til slutten",
        "The answer could not be read to its end",
    ),
    FailureKind.UNSTABLE: (
        "To fullstendige lesninger motsa hverandre",
        "To fullstendige lesingar sa imot kvarandre",
        "Two complete reads contradicted each other",
    ),
}
_EXITS: Final[_Names] = {
    str(int(code)): names
    for code, names in {
        ExitCode.OK: ("Fullstendig", "Fullstendig", "Complete"),
        ExitCode.USAGE: ("Feil bruk", "Feil bruk", "Wrong usage"),
        ExitCode.GAPS: ("Publisert med mangler", "Publisert med manglar", "Published with gaps"),
        ExitCode.LEASE_HELD: ("En annen kjøring pågår", "Ei anna køyring går", "Another run is on"),
        ExitCode.WITHHELD: (
            "Holdt tilbake: et menneske avgjør",
            "Halden tilbake: eit menneske avgjer",
            "Withheld: a person decides",
        ),
        ExitCode.DATA_CONTRACT: (
            "Svar eller liste er ikke til å forstå",
            "Svar eller liste er ikkje til å forstå",
            "The roster or PTS is not understood",
        ),
        ExitCode.UNAVAILABLE: (
            "En tjeneste er utilgjengelig",
            "Ei teneste er utilgjengeleg",
            "A service is unavailable",
        ),
        ExitCode.BUG: ("Programfeil", "Programfeil", "A bug"),
        ExitCode.STOPPED: (
            "Stoppet; fortsetter",
            "Stoppa; held fram",
            "Stopped; goes on next time",
        ),
        ExitCode.REFUSED: (
            "HelseID eller PTS nekter denne klienten",
            "HelseID eller PTS nektar denne klienten",
            "HelseID or PTS denies this client",
        ),
        ExitCode.CONFIGURATION: ("Feil i oppsettet", "Feil i oppsettet", "Configuration"),
    }.items()
}

_REFERENCE: Final = "Helsedirektoratet, OID 2.16.578.1.12.4.1.1.9603"
_PTS: Final = "PTS"
_WORKER: Final = "pts-worker"


SYSTEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "confidentiality_code": ("9603",),
    "privacy_type": ("privacy_type",),
    "privacy_level": ("privacy_level",),
    "code": ("9603", "privacy_type"),
    "level": ("privacy_level",),
    "cause": ("cause",),
    "object_type": ("object_type",),
    "parent_object_type": ("object_type",),
    "failure_kind": ("failure_kind",),
    "exit_code": ("exit_code",),
}
"""The code systems of the columns of views that hold a code, by the column's name."""


def codes() -> Iterator[Code]:
    """Every code, by system and in the order in which it is declared."""
    yield from _system("9603", _9603, _REFERENCE, PATIENT_SAFETY.effect)
    yield from _system("privacy_type", _TYPES, _PTS, PATIENT_PRIVACY.effect)
    yield from _system("privacy_level", _LEVELS, _PTS)
    yield from _system("cause", _CAUSES, _PTS)
    yield from _system("object_type", _OBJECTS, _PTS)
    yield from _system("failure_kind", _FAILURES, _WORKER)
    yield from _system("exit_code", _EXITS, _WORKER)


def _system(
    system: str, names: _Names, source: str, effect: Effect | None = None
) -> Iterator[Code]:
    for code, (nb, nn, en) in names.items():
        group = None if effect is None else group_of(effect, code)
        restricts = None if effect is None else group != RestrictionGroup.NONE
        yield Code(system, code, group, nb, nn, en, restricts, source)


def group_of(effect: Effect, code: str) -> str | None:
    """The group of a code, as ``group_sql`` gives it."""
    for group, known in effect.groups:
        if code in known:
            return group
    for group, prefix in effect.prefixes:
        if code.startswith(prefix):
            return group
    return None
