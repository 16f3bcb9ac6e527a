"""Who may ask, in what words: one package a scope (`api_admin`), and what they share.

`operation` describes a route once: method, path, scope, shapes. From that come the Starlette route, the
checks before the handler, and the OpenAPI document.
"""
