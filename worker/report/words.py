"""What the columns of exported files mean, for the fields of Parquet."""

from collections.abc import Mapping

from worker.areas.meanings import ViewColumn


def meanings(column: ViewColumn) -> Mapping[str, str]:
    """What is known of a column, under the names that ``report_dictionary`` has for it."""
    texts = {
        "meaning_en": column.en,
        "meaning_nb": column.nb,
        "unit": column.unit,
    }
    return {name: text for name, text in texts.items() if text}
