"""A question becomes governed SQL: query, parse, rules, Governed, engines."""
