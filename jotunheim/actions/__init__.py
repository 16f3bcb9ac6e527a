"""What happens in the world, and what our records then say.

An action carries out one kind of job: it renders hosts and variables, runs a playbook, and writes down the
outcome. It decides neither when it runs nor what follows a failure: `jobs` does.
"""
