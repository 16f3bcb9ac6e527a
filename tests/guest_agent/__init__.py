"""Modules and commands inside real guests, through the guest agent."""
