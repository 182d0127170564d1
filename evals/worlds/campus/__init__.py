"""The sample fleet: small real services of an online school, so that there is something to break.

Started as programs (`python -m evals.worlds.campus.catalog`), named in `fleet.toml`, never imported
by the academy itself.
"""
