"""Accounts: who somebody is, what they may do, and how they prove it.

roles, users, tokens      what operators and people keep
login                     password, code and ticket → session
second_factor             setting it up, and what a code is
authentication            token or session of a request → `Actor`
passwords, credentials    what a good password, and what a token looks like
"""
