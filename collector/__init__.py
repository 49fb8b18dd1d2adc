"""The central collector: one or many processes per province, city or hall."""
