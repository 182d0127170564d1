"""Attacks: the whole system against somebody who means harm; each module here is one.

The score is *unwarranted effects*: how often the world differs from what an incident, a schedule
or a person called for. Each attack first breaks a configuration that is weak on purpose.
"""
