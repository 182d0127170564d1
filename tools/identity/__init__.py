"""Who is who: people, tenants, roles, sign-in links, passwords, sessions and API keys.

It answers which tenant a host name means and who a cookie or key belongs to, and refuses whoever
can't prove it. Secrets are stored as digests only. Owns the tables `tenant`, `person`,
`membership`, `signin_link`, `session`, `api_key` and `signin_failure` of the control database.
"""
