"""The shape of a document holds names and kinds, and nothing else."""

from worker.core.shape import shape_of


def test_elements_share_a_path_and_kinds_add_up():
    """An array is described by the kinds of its elements, each once."""
    document = [{"id": "x", "at": "2026-01-31T12:00:00Z"}, {"id": 7, "at": None, "is": True}]
    assert shape_of(document) == {
        "$": ("array",),
        "[]": ("object",),
        "[].id": ("text", "number"),
        "[].at": ("time", "null"),
        "[].is": ("boolean",),
    }


def test_a_name_that_may_be_a_value_is_masked():
    """An answer could use an identifier as a field's name."""
    assert (shape_of({"items": {"16858399649": ["x"]}})) == {
        "$": ("object",),
        "items": ("object",),
        "items.?": ("array",),
        "items.?[]": ("text",),
    }


def test_a_shape_is_bounded():
    """However many fields, and however deep: a shape is for a screen."""
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    assert len(shape_of(deep)) == 13
    nested: dict[str, object] = {}
    for _ in range(100):
        nested = {"a": nested}
    assert len(shape_of(nested)) == 13
    assert len(shape_of({f"f{chr(97 + n % 26)}{n}": n for n in range(1000)})) == 400
