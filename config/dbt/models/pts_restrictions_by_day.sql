-- What was in effect at the end of each day, and what came and went on it.
with by_publication as (

    select
        publication_no,
        day,
        cohort,
        area,
        coalesce(restriction_group, 'unknown') as restriction_group,
        sum(open) as listed,
        sum(in_effect) as in_effect,
        sum(added) as added,
        sum(changed) as changed,
        sum(removed) as removed,
        sum(joined_with) as joined_with,
        sum(departed_with) as departed_with,
        sum(expired) as expired
    from {{ source('pts', 'report_daily') }}
    group by publication_no, day, cohort, area, coalesce(restriction_group, 'unknown')

),

last_of_day as (

    select day, max(publication_no) as publication_no
    from {{ source('pts', 'report_publication') }}
    group by day

)

select
    cast(p.day as date) as day,
    p.cohort,
    p.area,
    p.restriction_group,
    sum(case when p.publication_no = l.publication_no then p.listed else 0 end) as listed,
    sum(case when p.publication_no = l.publication_no then p.in_effect else 0 end) as in_effect,
    sum(p.added) as added,
    sum(p.changed) as changed,
    sum(p.removed) as removed,
    sum(p.joined_with) as joined_with,
    sum(p.departed_with) as departed_with,
    sum(p.expired) as expired
from by_publication as p
inner join last_of_day as l on p.day = l.day
group by cast(p.day as date), p.cohort, p.area, p.restriction_group
