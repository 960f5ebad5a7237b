-- How long restrictions last, by the month in which they began. Those that were there when the
-- person was first read are left out, because their beginning is unknown. Those that are still open,
-- or departed with their person, count with their days so far, so the median is a lower bound.
select
    area,
    cast(date_trunc('month', started_at at time zone 'Europe/Oslo') as date) as began_in,
    count(*) as restrictions,
    sum(case when ended_because = 'gone' then 1 else 0 end) as ended,
    sum(case when ended_because = 'departed' then 1 else 0 end) as departed,
    sum(revisions) as revisions,
    percentile_cont(0.5) within group (order by days) as median_days
from {{ source('pts', 'report_episode') }}
where not is_left_censored
group by area, cast(date_trunc('month', started_at at time zone 'Europe/Oslo') as date)
