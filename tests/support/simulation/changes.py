"""How a simulated world changes: what PTS knows, and who stands on the roster."""

import random

from tests.support.model.values import AREAS
from tests.support.simulation.stage import Line, Stage
from tests.support.simulation.upstream import PERSONS

BAD_LINES = ("nobody", "123", '"open', "1234567890,x", ",", "a,b,c,d")


class Changes:
    """Changes of one world, of a seed's choosing."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
        self._luck = random.Random(f"h-numbers {stage.upstream.state.options.seed}")
        self._keys = 0
        self._lost: dict[str, dict[str, dict[str, int]]] = {}
        self._unused = list(range(PERSONS))
        self.rng.shuffle(self._unused)

    def populate(self) -> None:
        for _ in range(self.rng.randint(2, 7)):
            self.add_person()
        for number in range(self._luck.choice((0, 0, 1, 3))):
            off_id = f"{self._luck.randint(1, 31):02}{self._luck.randint(41, 52)}{number:07}"
            self.stage.upstream.truth[off_id] = {area: {} for area in AREAS}
            self._add_restriction(off_id, self._luck.choice(AREAS))
            self._enlist(off_id)

    def add_person(self) -> None:
        """Somebody new on the roster."""
        if not self._unused:
            return
        off_id = self.stage.upstream.off_id(self._unused.pop())
        self.stage.upstream.truth[off_id] = {area: {} for area in AREAS}
        for area in AREAS:
            for _ in range(self.rng.choice((0, 0, 1, 1, 2, 4))):
                self._add_restriction(off_id, area)
        self._enlist(off_id)

    def _enlist(self, off_id: str) -> None:
        ref = self.rng.choice(("", f"L{len(self.stage.roster)}"))
        place = self.rng.randint(0, len(self.stage.roster))
        self.stage.roster.insert(place, Line(off_id=off_id, ref=ref))

    def configure(self) -> None:
        """Choose an environment, and whether H-numbers are sent to production."""
        environment = self._luck.choice((None, "test", "production", "production"))
        self.stage.configure(environment, send_h_numbers=self._luck.random() < 0.3)

    def _add_restriction(self, off_id: str, area: str) -> None:
        self._keys += 1
        self.stage.upstream.truth[off_id][area][f"r{self._keys:04d}"] = 1

    def _some_rows(self) -> tuple[str, str, dict[str, int]]:
        off_id = self.rng.choice(list(self.stage.upstream.truth))
        area = self.rng.choice(AREAS)
        return off_id, area, self.stage.upstream.truth[off_id][area]

    def change_world(self) -> None:
        """One change of what PTS knows."""
        off_id, area, rows = self._some_rows()
        kinds = ("add", "add", "change", "change", "remove", "renumber", "share", "swap")
        match self.rng.choice(kinds):
            case "add":
                self._add_restriction(off_id, area)
            case "share":  # under another identifier as well
                other = self.rng.choice(list(self.stage.upstream.truth))
                self.stage.upstream.truth[other][area] |= rows
            case "change" if rows:
                rows[self.rng.choice(sorted(rows))] += 1
            case "remove" if rows:
                del rows[self.rng.choice(sorted(rows))]
            case "renumber" if rows:
                self._renumber(off_id)
            case "swap" if rows:
                key = self.rng.choice(sorted(rows))
                rows[key] = max(1, rows[key] - 1)
            case _:
                self._add_restriction(off_id, area)

    def lose_much(self) -> None:
        """PTS tells nothing of most persons, as after a mistake over there."""
        truth = self.stage.upstream.truth
        for off_id in self.rng.sample(sorted(truth), max(1, len(truth) * 3 // 4)):
            self._lost.setdefault(off_id, truth[off_id])
            truth[off_id] = {area: {} for area in AREAS}

    def find_again(self) -> None:
        """The mistake is put right."""
        for off_id, rows in self._lost.items():
            if not any(self.stage.upstream.truth[off_id].values()):
                self.stage.upstream.truth[off_id] = rows
        self._lost = {}

    def _renumber(self, off_id: str) -> None:
        """A D-number gives way to a foedselsnummer, which has the restrictions from now on."""
        truth = self.stage.upstream.truth
        others = [one for one in truth if one != off_id and not any(truth[one].values())]
        if others and self.rng.random() < 0.5:
            other = self.rng.choice(others)
        elif self._unused:
            other = self.stage.upstream.off_id(self._unused.pop())
            truth[other] = {area: {} for area in AREAS}
            self._enlist(other)
        else:
            return
        truth[other], truth[off_id] = truth[off_id], {area: {} for area in AREAS}
        if self.rng.random() < 0.5:
            self._delist(off_id)

    def _delist(self, off_id: str) -> None:
        kept = [line for line in self.stage.roster if line.off_id != off_id]
        if any(not line.bad for line in kept):
            self.stage.roster = kept

    def edit_roster(self) -> None:
        """One change of the roster: a person comes, leaves or returns, or its lines change."""
        match self.rng.choice(("add", "remove", "return", "lines", "lines", "bad", "good")):
            case "add":
                self.add_person()
            case "remove":
                self._delist(self.rng.choice(list(self.stage.upstream.truth)))
            case "return":
                listed = {line.off_id for line in self.stage.roster}
                away = [one for one in self.stage.upstream.truth if one not in listed]
                if away:
                    self._enlist(self.rng.choice(away))
            case "lines":
                self._edit_lines()
            case "bad":
                bad = Line(bad=self.rng.choice(BAD_LINES))
                self.stage.roster.insert(self.rng.randint(0, len(self.stage.roster)), bad)
            case _:
                self.clean_roster()

    def _edit_lines(self) -> None:
        """The same persons: in another order, one of them twice, or with another reference."""
        roster = self.stage.roster
        place = self.rng.choice([n for n, line in enumerate(roster) if not line.bad])
        match self.rng.choice(("order", "twice", "reference")):
            case "order":
                self.rng.shuffle(roster)
            case "twice":
                roster.insert(self.rng.randint(0, len(roster)), roster[place])
            case _:
                roster[place] = Line(off_id=roster[place].off_id, ref=f"N{self._keys}")

    def clean_roster(self) -> None:
        self.stage.roster = [line for line in self.stage.roster if not line.bad]
