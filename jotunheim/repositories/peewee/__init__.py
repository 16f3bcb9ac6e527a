"""Our own records. The only package that imports peewee.

A module a noun: its table, the transitions of its rows and the named queries on it. Callers get rows;
the transaction is opened by whoever decides (a service or an action), with `database.transaction()`.
"""
