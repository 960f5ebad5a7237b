"""Pages of answers, and how the continuation after them goes out."""

from urllib.parse import parse_qs, urlsplit

from tests.support.pts_answers import OFF_ID, SAFETY, read, restriction
from worker.core.area import Paging
from worker.core.overrides import with_overrides
from worker.core.paging import PagingState

URL = "https://pts.example/v0.5/_search"


def paging_of(overrides):
    return with_overrides(SAFETY, {"paging": overrides}).paging


def state(paging=None, pages_max=20):
    return PagingState(paging=paging or Paging(), url=URL, off_id=OFF_ID, pages_max=pages_max)


def page(*numbers, around=None, headers=None):
    """A page with these restrictions; a bare list unless something stands around it."""
    records = [restriction(number) for number in numbers]
    document = records if around is None else {"items": records, **around}
    return read(document, headers={name: (value,) for name, value in (headers or {}).items()})


def sent(request):
    """A continuation as it goes out: the query and the additional body fields."""
    assert request is not None
    query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
    return query, dict(request.fields)


def read_on(walk, *pages):
    for each in pages:
        if walk.next_request(each) is None:
            break
