"""Alerts: whoever can do something about what is wrong hears of it, and nobody is woken for nothing."""
