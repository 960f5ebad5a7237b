{% test unique_together(model, columns) %}
{# No two rows share these values; empty ones count as equal. #}
select {{ columns | join(', ') }}, count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
