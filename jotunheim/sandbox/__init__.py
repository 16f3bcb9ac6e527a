"""A Proxmox VE stand-in: the PVE HTTP API over TLS on loopback, with a stateful model behind it.

It exists so that the demo, the tests and a newcomer need no cluster. It is a separate process
(`jotunheim sandbox`); no other part of Jotunheim imports it.

Why our own server. The PyPI package `fakepve` ships PVE's API schema and a server. We use the schema
(`fakepve.schema.load`, `Schema.match`) and its checks of PVE's named string formats (`fakepve.formats`).
We do not use the server: it models PVE 9, answers 200 to writes that it does not model, has no types,
and its HTTP layer can neither set a reason phrase nor cut a connection half-way. Where its schema data
and the recordings of a real PVE 8.4 disagree, `pve84` has the difference and says so.

Map of the package, from the wire inwards:

    runner        starts and stops everything: TLS, PVE port, control port, state file
    server        one request's way: faults, credentials, route, permissions, node, validation, handler
    control       the second port: state, faults, request log, settings
    api           which module handles which path of the schema (a path that nobody handles answers 501)
    validation    PVE's parameter verification, on the schema of `pve84` and the formats of `formats84`
    access        credentials, roles, the access control list, the permission checks that the schema declares
    world         what everything shares: the state, tasks, locks, clock
    state         the data that survives a restart; plain dataclasses
    settings      durations, rates and the time scale
    guests        what runs inside the VMs with `--guests process`; a package with a map of its own
    the rest      one noun each: vms, config, drives, clone, power, snapshots, storage, backups, firewall, …
"""
