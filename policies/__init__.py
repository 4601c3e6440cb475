"""Who may see what: principals, tokens, grants, decisions, the audit."""
