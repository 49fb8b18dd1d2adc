"""The pages of both doors in a real browser: journeys of those who use them, and their pictures."""
