"""What Trino's OPA plugin asks, answered from the policy in force: so that whoever goes to Trino meets it there too."""
