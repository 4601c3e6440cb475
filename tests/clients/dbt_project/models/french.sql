{{ config(materialized='ephemeral') }}
select status, count(*) as transactions, sum(amount) as amount
from {{ source('raw', 'transactions') }}
group by status
