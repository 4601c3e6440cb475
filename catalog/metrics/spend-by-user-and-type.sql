-- title = "Total per user and transaction type"
-- description = "What each user spent, got back and withdrew, for each currency: completed transactions."
--
-- [parameters.window]
-- type = "duration"
-- description = "How far back the window reaches. All of the table where it is left out."
-- min = "1s"
-- max = "366d"
--
-- [columns]
-- user_id = "The user, as far as the caller may see: a masked id stays the same for the same user where its mask is a global hash."
-- transaction_type = "`purchase`, `refund` or `withdrawal`: only the first is spending."
-- currency = "ISO 4217 code."
-- total = "Sum of the amounts; the type says which way the money went."
-- transactions = "How many there were."

SELECT
  user_id,
  transaction_type,
  currency,
  SUM(amount) AS total,
  COUNT(*) AS transactions
FROM lake.curated.transactions
WHERE status = 'completed'
  AND event_time >= :window_start
  AND event_time < :window_end
GROUP BY user_id, transaction_type, currency
ORDER BY user_id, transaction_type, currency
