"""The source witness on evasions: small scripts that hide a violation, each beside an honest twin."""
