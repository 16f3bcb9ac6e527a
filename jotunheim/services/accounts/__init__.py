"""Accounts: who somebody is, what they may do, and how they prove it.

roles, users, tokens      what operators and people keep
rights                    who may give what to whom
login                     password, code and ticket → session
sessions                  showing and ending them
second_factor             setting it up, and what a code is
authentication            token or session of a request → `Actor`, also once more
passwords, credentials    what a good password, and what a token looks like
local                     the same accounts, as the command line keeps them
"""
