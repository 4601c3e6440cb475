-- title = "Top products bought"
-- description = "The products of which most pieces were bought, with what was spent on each in each currency: completed purchases."
--
-- [parameters.limit]
-- type = "integer"
-- description = "How many products."
-- default = 10
-- min = 1
-- max = 1000
--
-- [parameters.window]
-- type = "duration"
-- description = "How far back the window reaches. All of the table where it is left out."
-- min = "1s"
-- max = "366d"
--
-- [columns]
-- product_id = "The product."
-- product_name = "Its name."
-- product_category = "Its category."
-- pieces = "How many pieces were bought."
-- purchases = "In how many purchases."
-- spent = "A list of `{currency, amount}`, in the order of the currencies."

WITH bought AS (
  SELECT
    product_id,
    currency,
    MAX(product_name) AS product_name,
    MAX(product_category) AS product_category,
    SUM(quantity) AS pieces,
    COUNT(*) AS purchases,
    SUM(amount) AS amount
  FROM lake.curated.transactions
  WHERE transaction_type = 'purchase'
    AND status = 'completed'
    AND event_time >= :window_start
    AND event_time < :window_end
  GROUP BY product_id, currency
)
SELECT
  product_id,
  MAX(product_name) AS product_name,
  MAX(product_category) AS product_category,
  CAST(SUM(pieces) AS BIGINT) AS pieces,
  CAST(SUM(purchases) AS BIGINT) AS purchases,
  ARRAY_AGG(CAST(ROW(currency, amount) AS ROW(currency VARCHAR, amount DECIMAL(38, 2))) ORDER BY currency) AS spent
FROM bought
GROUP BY product_id
ORDER BY pieces DESC, product_id
LIMIT :limit
