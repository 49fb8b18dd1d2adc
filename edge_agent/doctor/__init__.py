"""What keeps the presses of this machine from arriving, each with the one command that cures it."""
