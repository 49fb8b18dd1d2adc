"""What hall IT staff find a device and its wire with. Findings are values; printing them is somebody else's matter."""
