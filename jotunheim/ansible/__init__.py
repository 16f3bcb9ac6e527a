"""How a playbook is run: inventory and variables in, events and results out.

The only package that imports ansible_runner.
"""
