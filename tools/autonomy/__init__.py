"""Autonomy: the gate, approvals, permits, actions, evidence and the audit chain.

Refuses: running anything without a permit bound to its exact arguments; granting what evidence does
not carry. Owns the tables action, approval, permit, trial, freeze, audit_entry and audit_head.
"""
