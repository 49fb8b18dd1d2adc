"""The device-edge agent: one process per window PC, kiosk or hall."""
