-- title = "Money spent"
-- description = "What customers spent in a window that ends now, for each currency: completed purchases."
--
-- [parameters.window]
-- type = "duration"
-- description = "How far back the window reaches."
-- default = "5m"
-- min = "1s"
-- max = "366d"
--
-- [columns]
-- currency = "ISO 4217 code. Amounts in different currencies are never added up."
-- spent = "Sum of the amounts of completed purchases."
-- purchases = "How many there were."

SELECT
  currency,
  SUM(amount) AS spent,
  COUNT(*) AS purchases
FROM lake.curated.transactions
WHERE transaction_type = 'purchase'
  AND status = 'completed'
  AND event_time >= :window_start
  AND event_time < :window_end
GROUP BY currency
ORDER BY currency
