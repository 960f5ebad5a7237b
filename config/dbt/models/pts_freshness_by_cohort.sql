-- How many persons of each cohort each publication confirmed.
select
    publication_no,
    published_at,
    cast(day as date) as day,
    cohort,
    roster,
    confirmed,
    stale,
    missing,
    persons_in_effect,
    round(confirmed / nullif(cast(roster as numeric), 0), 4) as confirmed_share,
    publication_no = max(publication_no) over () as is_last
from {{ source('pts', 'report_publication_cohort') }}
