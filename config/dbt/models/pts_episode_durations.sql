-- How long restrictions stand, by the month in which they began. Those that were there when the
-- person was first read are left out: nobody knows when they began.
select
    area,
    cast(date_trunc('month', started_at at time zone 'Europe/Oslo') as date) as began_in,
    count(*) as restrictions,
    count(ended_at) as ended,
    sum(revisions) as revisions,
    percentile_cont(0.5) within group (order by case when ended_at is not null then days end)
        as median_days
from {{ source('pts', 'report_episode') }}
where not is_left_censored
group by area, cast(date_trunc('month', started_at at time zone 'Europe/Oslo') as date)
