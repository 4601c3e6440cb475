WITH revenue AS (
  SELECT l_suppkey AS supplier_no, sum(l_extendedprice * (1 - l_discount)) AS total_revenue FROM lineitem
  WHERE l_shipdate >= DATE '1996-01-01' AND l_shipdate < DATE '1996-01-01' + INTERVAL '3' MONTH
  GROUP BY l_suppkey)
SELECT s_suppkey, s_name, s_address, s_phone, round(total_revenue, 2) AS total_revenue FROM supplier, revenue
WHERE s_suppkey = supplier_no
  AND round(total_revenue, 2) = (SELECT max(round(total_revenue, 2)) FROM revenue)
ORDER BY s_suppkey
